"""The envelope of a message as values: sender, recipients, and what MAIL and RCPT asked for."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from libs.smtp.address import Address
from libs.smtp.value import value


class Body(StrEnum):
    """BODY of MAIL (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


class Ret(StrEnum):
    """RET of MAIL (RFC 3461 4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(StrEnum):
    """A value of NOTIFY of RCPT (RFC 3461 4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@value(frozen=True, slots=True)
class Recipient:
    """`notify`: empty when not given. `original_recipient`: ORCPT as `addr-type;xtext`, ASCII, empty when not given."""

    address: Address
    notify: tuple[Notify, ...] = ()
    original_recipient: bytes = b""


@value(frozen=True, slots=True)
class Envelope:
    """`smtputf8`: the keyword was given, which is not yet a need for it (C59): see `needs_smtputf8`.

    `body` and `ret`: None when not given. `envelope_id`: ENVID as sent (xtext), empty when not given.
    """

    sender: Address
    recipients: tuple[Recipient, ...]
    smtputf8: bool = False
    body: Body | None = None
    ret: Ret | None = None
    envelope_id: bytes = b""

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address holds UTF-8 that has no ASCII form. The header may need the extension all the same."""
        return self.sender.needs_smtputf8 or any(one.address.needs_smtputf8 for one in self.recipients)


def distinct(recipients: Iterable[Recipient]) -> tuple[Recipient, ...]:
    """The recipients in order, each mailbox once (C56): the first naming stands, with its NOTIFY and ORCPT."""
    by_key: dict[str, Recipient] = {}
    for recipient in recipients:
        by_key.setdefault(recipient.address.matching_key(), recipient)
    return tuple(by_key.values())
