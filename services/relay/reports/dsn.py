"""Delivery status notifications as bytes: RFC 3461, 3464, 6522, and 6533 for addresses beyond ASCII. This module is
pure.

A report is a multipart/report with three parts: a text for people, fields for programs, and the header or the whole of
the original message. Its lines end in CRLF and none is longer than 998 octets (C142).
"""

from __future__ import annotations

import re
import textwrap
from base64 import encodebytes
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from libs.smtp import header
from libs.smtp.parameters import utf8_xtext
from services.relay.model.message import Action, ReportedRecipient

# The largest number of octets of the original header that are returned.
_HEADER_LIMIT = 64 * 1024
# With RET=FULL, a report of a failure returns content up to this size whole, if it can be sent unchanged. All other
# reports return only the header.
FULL_LIMIT = 5 * 1024 * 1024
_LINE_LIMIT = 998
_FOLD_AT = 76
_REFERENCES_LIMIT = 900
_PRINTABLE = re.compile(rb"[!-~]{1,255}")
_COMMENT_MARK = re.compile(rb"[()]|\\.")
# The largest number of characters of a server's reply that a report repeats.
_DIAGNOSTIC_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Report:
    """One notification. Times are in microseconds since 1970."""

    # The report comes from this host, with the sender mailer-daemon@ this host.
    hostname: str
    # A text that makes Message-ID and boundary unique.
    unique: str
    now: int
    # The canonical address that gets the report.
    to: bytes
    recipients: tuple[ReportedRecipient, ...]
    # Fields of the message that the report is about.
    queue_id: str
    content: bytes
    arrived_at: int
    # The name that the client gave in HELO or EHLO.
    received_from: bytes = b""
    envelope_id: bytes = b""
    ret: str = ""
    # Whether the report goes to the postmasters only, because it is about a report or other mail from <> that could not
    # be delivered.
    double_bounce: bool = False

    @property
    def action(self) -> Action:
        """Returns the gravest action of its recipients."""
        present = {recipient.action for recipient in self.recipients}
        return next(action for action in Action if action in present)


def build(report: Report) -> bytes:
    """Returns the whole message, header and body."""
    original, _ = header.split(report.content)
    # The report may contain UTF-8 only when the return path itself needs SMTPUTF8 (C143).
    utf8 = not report.to.isascii()
    parts = [_words(report, utf8=utf8), _fields(report, utf8=utf8), _returned(report, original)]
    boundary = f"=_{report.unique}"
    while any(boundary.encode() in part for part in parts):
        boundary += "_"
    delimiter = b"--" + boundary.encode()
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
    kind = "global-delivery-status" if utf8 else "delivery-status"
    lines = [
        f"From: Mail Delivery System <mailer-daemon@{report.hostname}>",
        f"To: <{report.to.decode()}>",
        f"Subject: {_subject(report)}",
        f"Date: {_date(report.now)}",
        f"Message-ID: <{report.unique}@{report.hostname}>",
        *_threading(original),
        # RFC 3834 section 5: automatic responders do not answer such a message.
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={kind};\r\n\tboundary="{boundary}"',
    ]
    if not all(part.isascii() for part in parts):
        lines.append("Content-Transfer-Encoding: 8bit")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + b"This is a delivery status notification in MIME format.\r\n\r\n" + body + delimiter + b"--\r\n"


def is_automatic(content: bytes) -> bool:
    """Returns whether the message is an automatic answer (RFC 3834 section 5), so that nobody waits for a report about
    it (C141).
    """
    original, _ = header.split(content)
    values = header.values(original, b"auto-submitted")
    plain = (_without_comments(value).strip() for value in values)
    words = (re.split(rb"[;\s]", value, maxsplit=1)[0].lower() for value in plain)
    return any(word in (b"auto-replied", b"auto-notified") for word in words)


def _without_comments(value: bytes) -> bytes:
    """Removes the comments of a header field. RFC 5322 3.2.2 allows comments anywhere, and inside each other without a
    limit of depth.
    """
    kept: list[bytes] = []
    position = depth = 0
    for mark in _COMMENT_MARK.finditer(value):
        if mark[0] == b"(":
            if depth == 0:
                kept.append(value[position : mark.start()])
            depth += 1
        elif mark[0] == b")" and depth:
            depth -= 1
            position = mark.end()
    if depth == 0:
        kept.append(value[position:])
    return b" ".join(kept)


_SUBJECTS = {
    Action.FAILED: "Undelivered mail returned to sender",
    Action.DELAYED: "Delayed mail (still being tried)",
    Action.DELIVERED: "Mail delivered",
    Action.RELAYED: "Mail passed on",
    Action.EXPANDED: "Mail passed on to a list",
}
_INTRODUCTIONS = {
    Action.FAILED: "Your message could not be delivered to the recipients below, and will not be tried again.",
    Action.DELAYED: "Your message could not be delivered yet to the recipients below. It is still being tried: "
    "you need not send it again.",
    Action.DELIVERED: "Your message was delivered to the recipients below.",
    Action.RELAYED: "Your message was handed to the mail servers of the recipients below. Those may not tell you "
    "whether it arrived.",
    Action.EXPANDED: "Your message was handed on to all members of the addresses below.",
}


def _subject(report: Report) -> str:
    return "Postmaster notice: undeliverable report" if report.double_bounce else _SUBJECTS[report.action]


def _words(report: Report, *, utf8: bool) -> bytes:
    introduction = _INTRODUCTIONS[report.action]
    if report.double_bounce:
        introduction = "A message without a return path could not be delivered, so its sender cannot be told."
    lines = [f"This is the mail system at {report.hostname}.", "", *textwrap.wrap(introduction, _FOLD_AT)]
    for recipient in report.recipients:
        lines += ["", f"<{_readable(recipient.address, utf8=utf8)}>:"]
        lines += textwrap.wrap(_explanation(recipient), _FOLD_AT, initial_indent="    ", subsequent_indent="    ")
        if recipient.will_retry_until is not None:
            lines.append(f"    It is tried until {_date(recipient.will_retry_until)}.")
    lines += ["", f"Our name for the message: {report.queue_id}"]
    text = "\r\n".join(lines)
    encoded = _bounded_lines(text.encode())
    charset = "us-ascii" if encoded.isascii() else "utf-8"
    transfer = "7bit" if encoded.isascii() else "8bit"
    if not encoded.isascii() and not utf8:
        # A server's reply may contain UTF-8. In base64 the report passes every mail server.
        encoded, transfer = _base64(encoded), "base64"
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {transfer}\r\n\r\n"
    return head.encode() + encoded + b"\r\n"


def _explanation(recipient: ReportedRecipient) -> str:
    explanation = _said(recipient) or recipient.status
    if recipient.remote_host and recipient.code:
        return f"{recipient.remote_host} said: {explanation}"
    return explanation


def _said(recipient: ReportedRecipient) -> str:
    text = " ".join(recipient.text.split())[:_DIAGNOSTIC_LIMIT]
    return f"{recipient.code} {text}".strip() if recipient.code else text


def _fields(report: Report, *, utf8: bool) -> bytes:
    """Returns the part message/delivery-status: RFC 3464 section 2."""
    lines = [f"Reporting-MTA: dns; {report.hostname}"]
    if report.envelope_id:
        lines.insert(0, f"Original-Envelope-Id: {_xtext_decoded(report.envelope_id)}")
    if _PRINTABLE.fullmatch(report.received_from):
        lines.append(f"Received-From-MTA: dns; {report.received_from.decode('ascii')}")
    lines += [f"X-Posthouse-Queue-Id: {report.queue_id}", f"Arrival-Date: {_date(report.arrived_at)}"]
    groups = [lines, *(_recipient_fields(recipient, utf8=utf8) for recipient in report.recipients)]
    text = "\r\n\r\n".join("\r\n".join(_folded(line) for line in group) for group in groups)
    kind = "message/global-delivery-status" if utf8 else "message/delivery-status"
    encoded = text.encode()
    transfer = "8bit" if not encoded.isascii() else "7bit"
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {transfer}\r\n\r\n".encode() + encoded + b"\r\n"


def _recipient_fields(recipient: ReportedRecipient, *, utf8: bool) -> list[str]:
    lines = []
    if recipient.orcpt:
        kind, _, value = recipient.orcpt.partition(b";")
        # RFC 3464 2.3.1: in this field the address is not xtext. An address of the type utf-8 keeps its ASCII form (RFC
        # 6533 3).
        shown = value.decode("ascii", "replace") if kind.lower() == b"utf-8" else _xtext_decoded(value)
        lines.append(f"Original-Recipient: {kind.decode('ascii', 'replace')}; {shown}")
    lines += [
        f"Final-Recipient: {_typed(recipient.address, utf8=utf8)}",
        f"Action: {recipient.action.value}",
        f"Status: {recipient.status}",
    ]
    if recipient.remote_host:
        lines.append(f"Remote-MTA: dns; {recipient.remote_host}")
    server_text = _said(recipient)
    if server_text:
        # RFC 3464 2.3.6: the type tells who wrote the text. The text is ASCII, or UTF-8 where RFC 6533 section 4 allows
        # it.
        own = server_text if utf8 else server_text.encode("ascii", "backslashreplace").decode()
        lines.append(f"Diagnostic-Code: {'smtp' if recipient.code else 'x-posthouse'}; {own}")
    if recipient.last_attempt_at is not None:
        lines.append(f"Last-Attempt-Date: {_date(recipient.last_attempt_at)}")
    if recipient.will_retry_until is not None:
        lines.append(f"Will-Retry-Until: {_date(recipient.will_retry_until)}")
    return lines


def _returned(report: Report, original: bytes) -> bytes:
    """Returns the third part: RFC 6522 section 3, RFC 3461 4.3. For a header with 8-bit octets it has the form of RFC
    6533 section 5.
    """
    whole = (
        report.ret == "FULL"
        and report.action is Action.FAILED
        and len(report.content) <= FULL_LIMIT
        and _fits(report.content)
        # Content may contain NUL (C39), and many servers refuse a message with it.
        and b"\x00" not in report.content
    )
    ascii_header = original.isascii()
    if whole:
        kind = "message/rfc822" if ascii_header else "message/global"
        transfer = "7bit" if report.content.isascii() else "8bit"
        head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {transfer}\r\n\r\n".encode()
        return head + report.content + (b"" if report.content.endswith(b"\r\n") else b"\r\n")
    shown = _bounded_lines(original[:_HEADER_LIMIT].replace(b"\x00", b"?"))
    if not shown.endswith(b"\r\n"):
        shown += b"\r\n"
    if ascii_header:
        return b"Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" + shown
    head = b"Content-Type: message/global-headers\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + _base64(shown) + b"\r\n"


def _threading(original: bytes) -> list[str]:
    """Returns In-Reply-To and References, if the original has a Message-ID that our header may contain."""
    message_ids = header.values(original, b"message-id")
    if (
        len(message_ids) != 1
        or not re.fullmatch(rb"<[!-;=?-~]+@[!-;=?-~]+>", message_ids[0])
        or len(message_ids[0]) > _REFERENCES_LIMIT
    ):
        return []
    name = message_ids[0].decode("ascii")
    return [f"In-Reply-To: {name}", f"References: {name}"]


def _typed(address: bytes, *, utf8: bool) -> str:
    if address.isascii():
        return f"rfc822; {address.decode('ascii')}"
    text = address.decode("utf-8", "replace")
    return f"utf-8; {text if utf8 else utf8_xtext(text)}"


def _readable(address: bytes, *, utf8: bool) -> str:
    text = address.decode("utf-8", "replace")
    return text if utf8 or address.isascii() else utf8_xtext(text)


def _xtext_decoded(value: bytes) -> str:
    """Decodes xtext (RFC 3461 section 4). Characters that would break a line stay encoded."""

    def plain(match: re.Match[bytes]) -> bytes:
        octet = int(match[1], 16)
        return bytes((octet,)) if 32 <= octet < 127 else match[0]

    return re.sub(rb"\+([0-9A-Fa-f]{2})", plain, value).decode("ascii", "backslashreplace")


def _folded(line: str) -> str:
    """Folds a field into lines of about 76 octets, and never of more than 998 (RFC 5322 2.1.1, 2.2.3)."""
    if len(line) <= _FOLD_AT:
        return line
    pieces = textwrap.wrap(line, _FOLD_AT, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False)
    # One character may have up to four octets.
    size = 900 if line.isascii() else 240
    cut = [piece[at : at + size] for piece in pieces for at in range(0, len(piece), size)]
    return "\r\n".join(
        piece if number == 0 or piece.startswith(" ") else f" {piece}" for number, piece in enumerate(cut)
    )


def _fits(content: bytes) -> bool:
    """Returns whether no line is too long to be sent unchanged."""
    return max(map(len, content.split(b"\r\n"))) <= _LINE_LIMIT


def _bounded_lines(text: bytes) -> bytes:
    """Splits lines of more than 998 octets. Each part is a continuation line of the part before it."""
    if _fits(text):
        return text
    cut: list[bytes] = []
    for line in text.split(b"\r\n"):
        rest = line
        while len(rest) > _LINE_LIMIT:
            at = max(rest.rfind(b" ", 1, _LINE_LIMIT), rest.rfind(b"\t", 1, _LINE_LIMIT))
            at = at if at > 0 and rest[:at].strip() else _character(rest, _LINE_LIMIT - 8)
            cut.append(rest[:at])
            rest = b" " + rest[at:].lstrip(b" \t")
        cut.append(rest)
    return b"\r\n".join(cut)


def _character(text: bytes, at: int) -> int:
    """Returns the position at which the UTF-8 character that contains the octet at `at` begins."""
    while at > 1 and text[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _base64(data: bytes) -> bytes:
    return encodebytes(data).replace(b"\n", b"\r\n").removesuffix(b"\r\n")


def _date(at: int) -> str:
    """Returns the date in the form of RFC 5322 3.3, in UTC."""
    return format_datetime(datetime.fromtimestamp(at / 1_000_000, UTC))


def recipients_by_action(recipients: Sequence[ReportedRecipient]) -> dict[Action, tuple[ReportedRecipient, ...]]:
    """Groups the recipients by action, because a report is about one action."""
    groups: dict[Action, list[ReportedRecipient]] = {}
    for recipient in recipients:
        groups.setdefault(recipient.action, []).append(recipient)
    return {action: tuple(group) for action, group in groups.items()}
