"""A message and its recipients in the form in which they are sent. This module is pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from libs.smtp import header
from services.relay.delivery.smtp.capabilities import Capabilities
from services.relay.model.attempt import OutgoingMessage, OutgoingRecipient
from services.relay.model.outcome import ReplyMeaning, failed

# No canonical address has such a character. This check makes sure that none gets into a command, even after a fault
# elsewhere.
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# This search takes half the time that bytes.replace takes when there is no match.
_DOT_LINE = re.compile(rb"\n\.")
# This much of the content is searched with the pattern. Attachments often have no dot at all, so in the rest it is six
# times as fast to look at each dot as to look at every line.
_HEAD = 8192
_DOTS_TRIED = 8


class PreparedMessage:
    """The content and parameters that one attempt sends.

    The content is never changed. Only DATA adds dots (RFC 5321 4.5.2), and a CRLF when the last line has none.

    Even to a server without 8BITMIME an 8-bit message is sent unchanged (C63). Every present server accepts it, while
    re-encoding would break signatures, and a bounce would help nobody.
    """

    __slots__ = ("_stuffed", "content", "eight_bit", "envelope_id", "fault", "needs_smtputf8", "ret", "sender")

    def __init__(self, message: OutgoingMessage) -> None:
        content = message.content
        self.content = content
        self.sender = message.sender
        self.ret = message.ret
        self.envelope_id = message.envelope_id
        # BODY=8BITMIME is sent when the content has 8-bit octets, whatever the client declared (C63).
        self.eight_bit = not content.isascii()
        # The client may have requested SMTPUTF8 although nothing needs it. It is sent only when the envelope or the
        # header needs it (C59).
        self.needs_smtputf8 = not message.sender.isascii() or (
            message.smtputf8 and self.eight_bit and not content[: content.find(b"\r\n\r\n") + 1].isascii()
        )
        self.fault = _fault(message.sender, message.envelope_id)
        self._stuffed: bytes | None = None

    def stuffed(self) -> bytes:
        """Returns the content for DATA, with dots added, and without the line of the final dot."""
        if self._stuffed is None:
            stuffed = self.content
            if _has_dot_line(stuffed):
                stuffed = stuffed.replace(b"\n.", b"\n..")
            if stuffed.startswith(b"."):
                stuffed = b"." + stuffed
            self._stuffed = stuffed if stuffed.endswith(b"\r\n") or not stuffed else stuffed + b"\r\n"
        return self._stuffed

    def mail(self, recipients: Sequence[OutgoingRecipient], offered: Capabilities) -> bytes:
        """Returns the MAIL command, with those parameters that the server offers and that the message or its recipients
        need.
        """
        line = b"MAIL FROM:<%b>" % self.sender
        if offered.size_offered:
            line += b" SIZE=%d" % len(self.content)
        if self.eight_bit and offered.eight_bit:
            line += b" BODY=8BITMIME"
        if offered.smtputf8 and (
            self.needs_smtputf8 or not all(recipient.address.isascii() for recipient in recipients)
        ):
            line += b" SMTPUTF8"
        if offered.dsn:
            if self.ret:
                line += b" RET=" + self.ret.encode("ascii")
            if self.envelope_id:
                line += b" ENVID=" + self.envelope_id
        return line + b"\r\n"

    def came_through(self, hostname: str) -> bool:
        """Returns whether the message passed through this gateway earlier: then at least two of its Received fields
        name this gateway.
        """
        head, _ = header.split(self.content)
        by_us = re.compile(rb"[ \t]by %b[ \t]" % re.escape(hostname.encode("ascii", "replace")), re.IGNORECASE)
        return sum(by_us.search(field) is not None for field in header.values(head, b"received")) > 1

    def refusal(self, offered: Capabilities) -> ReplyMeaning | None:
        """Returns the reason why the message cannot be sent to this server, which is known before any command is sent.
        Returns None when the message can be sent.
        """
        if self.fault is not None:
            return self.fault
        if self.needs_smtputf8 and not offered.smtputf8:
            return failed(553, "5.6.7", "the message needs SMTPUTF8 and the server does not offer it")
        if offered.size and len(self.content) > offered.size:
            limit = f"the message has {len(self.content)} octets and the server accepts {offered.size}"
            return failed(552, "5.3.4", limit)
        return None


def rcpt(recipient: OutgoingRecipient, offered: Capabilities) -> bytes:
    """Returns the RCPT command."""
    line = b"RCPT TO:<%b>" % recipient.address
    if offered.dsn and (recipient.notify or recipient.original_recipient):
        if recipient.notify:
            line += b" NOTIFY=" + ",".join(recipient.notify).encode("ascii")
        if recipient.original_recipient:
            line += b" ORCPT=" + recipient.original_recipient
    return line + b"\r\n"


def recipient_refusal(recipient: OutgoingRecipient, offered: Capabilities) -> ReplyMeaning | None:
    """Returns the reason why this server cannot be given this recipient, or None when there is none."""
    address, original = recipient.address, recipient.original_recipient
    if _CONTROL.search(address) or (original and _CONTROL.search(original)):
        return failed(553, "5.1.3", "the address holds control characters")
    if not offered.smtputf8 and not address.isascii():
        return failed(553, "5.6.7", "the address needs SMTPUTF8 and the server does not offer it")
    return None


def _fault(sender: bytes, envelope_id: bytes) -> ReplyMeaning | None:
    """Returns the reason why the sender must not be put into a command, or None when there is none."""
    if _CONTROL.search(sender) or (envelope_id and _CONTROL.search(envelope_id)):
        return failed(553, "5.1.7", "the sender's address holds control characters")
    return None


def _has_dot_line(content: bytes) -> bool:
    """Returns whether a line after the first begins with a dot."""
    if _DOT_LINE.search(content, 0, _HEAD + 1):
        return True
    if len(content) <= _HEAD:
        return False
    at = _HEAD
    for _ in range(_DOTS_TRIED):
        at = content.find(b".", at + 1)
        if at < 0:
            return False
        if content[at - 1] == 0x0A:
            return True
    return _DOT_LINE.search(content, at) is not None
