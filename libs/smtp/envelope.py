"""The envelope of a message: sender, recipients, and the parameters of MAIL and RCPT."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from libs.smtp.address import Address
from libs.smtp.value import fast_value


class Body(StrEnum):
    """The value of BODY of MAIL (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


class Ret(StrEnum):
    """The value of RET of MAIL (RFC 3461 4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(StrEnum):
    """A value of NOTIFY of RCPT (RFC 3461 4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@fast_value(frozen=True, slots=True)
class Recipient:
    """A recipient, with the parameters of its RCPT. `notify` is empty without NOTIFY. `original_recipient` is ORCPT as
    `addr-type;xtext` in ASCII, and empty without it.
    """

    address: Address
    notify: tuple[Notify, ...] = ()
    original_recipient: bytes = b""


@fast_value(frozen=True, slots=True)
class Envelope:
    """The envelope of a message. `smtputf8` means that the client gave the keyword, even if the addresses do not need
    it (C59). `body` and `ret` are None when the client did not give them. `envelope_id` is ENVID as sent (xtext), or
    empty.
    """

    sender: Address
    recipients: tuple[Recipient, ...]
    smtputf8: bool = False
    body: Body | None = None
    ret: Ret | None = None
    envelope_id: bytes = b""

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address contains UTF-8 that has no ASCII form, so that SMTPUTF8 is needed. The header may need
        SMTPUTF8 even if the result is False.
        """
        return self.sender.needs_smtputf8 or any(recipient.address.needs_smtputf8 for recipient in self.recipients)


def distinct(recipients: Iterable[Recipient]) -> tuple[Recipient, ...]:
    """Returns the recipients in order, each mailbox once (C56), with the NOTIFY and ORCPT of its first RCPT."""
    by_key: dict[str, Recipient] = {}
    for recipient in recipients:
        by_key.setdefault(recipient.address.matching_key(), recipient)
    return tuple(by_key.values())
