"""The question to rspamd about a message, and the fields that mark a message as spam. This module is pure."""

from __future__ import annotations

from dataclasses import dataclass

from libs.smtp import header
from services.ingress.session import SessionFacts, Transaction

# Fields that say whether a message is spam. Programs may trust such fields, so the sender's own are removed.
_SPAM_FIELDS = (b"x-spam", b"x-spam-score")


@dataclass(frozen=True, slots=True)
class Question:
    """A question to rspamd about a message: its envelope, its size, and its first octets. The other octets are passed
    separately.
    """

    session: SessionFacts
    transaction: Transaction
    # The name of this gateway.
    hostname: str
    head: bytes
    size: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Returns the envelope as header fields of the HTTP request, without empty ones."""
        session, transaction = self.session, self.transaction
        fields = [
            (b"IP", session.peer.client_address.encode("ascii")),
            (b"Helo", session.helo_sent),
            (b"Hostname", transaction.client_name.encode("ascii", "replace")),
            (b"From", b"<" + transaction.sender + b">"),
            *(
                (b"Rcpt", b"<" + recipient.address + b">")
                for recipient in transaction.recipients.values()
                if not recipient.discard
            ),
            (b"User", session.account.encode()),
            # rspamd's log has this id, so that its lines can be matched with those of our log.
            (b"Queue-Id", session.id.encode("ascii")),
            (b"MTA-Name", self.hostname.encode("ascii")),
        ]
        if session.tls is not None:
            fields += [
                (b"TLS-Version", session.tls.version.encode("ascii", "replace")),
                (b"TLS-Cipher", session.tls.cipher.encode("ascii", "replace")),
            ]
        return [(name, cleaned) for name, text in fields if (cleaned := _field_text(text))]


def _field_text(text: bytes) -> bytes:
    """Returns the text without characters that an HTTP field must not contain (RFC 9110 5.5)."""
    return bytes(octet if octet >= 0x20 and octet != 0x7F else ord("?") for octet in text).strip(b" ")


def spam_fields(score: float) -> bytes:
    """Returns the fields for a message that rspamd considers spam."""
    return f"X-Spam: Yes\r\nX-Spam-Score: {score:.2f}\r\n".encode("ascii")


def without_spam_fields(head: bytes) -> bytes:
    """Returns the header without the fields that only `spam_fields` may write."""
    for name in _SPAM_FIELDS:
        head = header.remove_named(head, name)
    return head
