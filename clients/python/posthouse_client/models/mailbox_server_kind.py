from typing import Literal, cast

MailboxServerKind = Literal["lmtp", "smtp"]


def check_mailbox_server_kind(value: str) -> MailboxServerKind:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(MailboxServerKind, value)
