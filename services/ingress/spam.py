"""What rspamd is told of a message, and the fields that mark one as spam. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from libs.smtp import header
from services.ingress.session import SessionFacts, Transaction

# Fields that say whether a message is spam: a reader may trust them, so the sender's must not pass.
_SPAM_FIELDS = (b"x-spam", b"x-spam-score")


@dataclass(frozen=True, slots=True)
class Question:
    """A message for rspamd. `head` stands in the place of the first octets of what `tail` goes on with."""

    session: SessionFacts
    transaction: Transaction
    # Of this gateway.
    hostname: str
    head: bytes
    size: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The envelope as header fields of the HTTP request; what is empty is left out."""
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
            # rspamd's log names it, so that a line there is found by what the log here says.
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
    """What may stand in a header field of HTTP (RFC 9110 5.5)."""
    return bytes(octet if octet >= 0x20 and octet != 0x7F else ord("?") for octet in text).strip(b" ")


def spam_fields(score: float) -> bytes:
    """What a message is marked with that rspamd takes for spam."""
    return f"X-Spam: Yes\r\nX-Spam-Score: {score:.2f}\r\n".encode("ascii")


def without_spam_fields(head: bytes) -> bytes:
    """The header without the fields that only `spam_fields` may write."""
    for name in _SPAM_FIELDS:
        head = header.remove_named(head, name)
    return head
