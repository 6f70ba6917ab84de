from typing import Literal, cast

SmtpOrLmtpMailboxKind = Literal["lmtp", "smtp"]


def check_smtp_or_lmtp_mailbox_kind(value: str) -> SmtpOrLmtpMailboxKind:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(SmtpOrLmtpMailboxKind, value)
