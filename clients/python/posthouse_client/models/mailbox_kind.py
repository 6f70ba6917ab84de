from typing import Literal, cast

MailboxKind = Literal["lmtp", "maildir", "smtp"]


def check_mailbox_kind(value: str) -> MailboxKind:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(MailboxKind, value)
