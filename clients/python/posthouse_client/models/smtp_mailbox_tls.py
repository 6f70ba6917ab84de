from typing import Literal, cast

SmtpMailboxTls = Literal["encrypt", "may", "none", "verify"]


def check_smtp_mailbox_tls(value: str) -> SmtpMailboxTls:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(SmtpMailboxTls, value)
