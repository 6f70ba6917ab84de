from typing import Literal, cast

SmtpOrLmtpOrMaildirMailboxTls = Literal["encrypt", "may", "none", "verify"]


def check_smtp_or_lmtp_or_maildir_mailbox_tls(value: str) -> SmtpOrLmtpOrMaildirMailboxTls:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(SmtpOrLmtpOrMaildirMailboxTls, value)
