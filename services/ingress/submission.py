"""The values that are handed to relay: an accepted message, and the record of a refused message. This module does no
I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from libs.smtp.reply import Reply
from libs.smtp.value import fast_value
from services.ingress.session import Discard, PastVerdict, Recipient, SessionFacts, Transaction

# Content up to this size is sent together with its envelope. Larger content follows in pieces of this size.
INLINE_OCTETS = 256 * 1024


class Octets(Protocol):
    """Content that can be read several times, in pieces."""

    def pieces(self) -> Iterator[bytes]:
        """Yields the content from its beginning, in pieces of at most INLINE_OCTETS."""


@fast_value(frozen=True, slots=True)
class Submission:
    """A message that policy accepted. `size` is the number of octets of `content`. `received_at` is in Unix
    nanoseconds.
    """

    id: str
    session: SessionFacts
    transaction: Transaction
    content: Octets
    size: int
    received_at: int
    quarantine: bool = False
    # Whether the session may send to any domain.
    may_relay: bool = False

    def discard_of(self, recipient: Recipient) -> Discard | None:
        """Returns why this recipient, or the whole message, is dropped, or None when the recipient gets the message."""
        return recipient.discard or self.transaction.discard


@fast_value(frozen=True, slots=True)
class Refusal:
    """A refusal of a connection, message or recipient, for relay's history. `stage` is a name such as MAIL or
    END_OF_DATA.
    """

    session_id: str
    client_address: str
    helo_name: bytes
    account: str
    sender: bytes
    recipients: tuple[bytes, ...]
    reply: Reply
    reason_id: str
    rule_id: str
    stage: str
    refused_at: int
    listener: str
    tls: bool
    # The Message-ID of the header, if the content was refused after its end.
    message_id: bytes = b""
    verdicts: tuple[PastVerdict, ...] = ()
    check_results: tuple[str, ...] = ()


class HandoverError(Exception):
    """The submission failed, and as far as ingress knows, nothing was stored. `reply` is the answer to the client."""

    def __init__(self, reply: Reply, reason: str) -> None:
        super().__init__(reason)
        self.reply = reply
        self.reason = reason
