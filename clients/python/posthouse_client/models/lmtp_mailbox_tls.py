from typing import Literal, cast

LmtpMailboxTls = Literal["encrypt", "may", "none", "verify"]


def check_lmtp_mailbox_tls(value: str) -> LmtpMailboxTls:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(LmtpMailboxTls, value)
