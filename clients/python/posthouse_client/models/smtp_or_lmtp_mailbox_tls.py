from typing import Literal, cast

SmtpOrLmtpMailboxTls = Literal["encrypt", "may", "none", "verify"]


def check_smtp_or_lmtp_mailbox_tls(value: str) -> SmtpOrLmtpMailboxTls:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(SmtpOrLmtpMailboxTls, value)
