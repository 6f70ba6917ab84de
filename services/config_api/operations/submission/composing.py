"""Makes a message (RFC 5322, RFC 2045 to 2047) from the members of a request. This module is pure, except that it
writes to the given file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from email.errors import MessageError
from email.generator import BytesGenerator
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from typing import BinaryIO

from libs.smtp.address import parse_address
from services.config_api.operations.submission.schemas import Attachment, MessageToSend, NamedAddress
from services.config_api.problems import invalid_field

# With only 7-bit content, every next hop accepts the message.
_ASCII = SMTP.clone(cte_type="7bit")
_UNICODE = SMTPUTF8.clone(cte_type="7bit")
_CRLF = "\r\n"
_LINE = 76


def needs_smtputf8(given: MessageToSend) -> bool:
    """Whether an address in the header cannot be written in ASCII (RFC 6531)."""
    shown = [*([given.from_] if given.from_ else []), *given.to, *given.cc, *given.reply_to]
    return any(parse_address(mailbox.address).needs_smtputf8 for mailbox in shown)


def compose(given: MessageToSend, file: BinaryIO) -> None:
    """Writes the message with CRLF lines. Raises Problem 422 for values that cannot be written."""
    message = EmailMessage(_UNICODE if needs_smtputf8(given) else _ASCII)
    assert given.from_ is not None  # noqa: S101 - the schema demands it
    for name, text in given.headers.items():
        try:
            message[name] = text
        except (ValueError, MessageError):
            raise invalid_field("/headers", "header", "A field cannot be written with this value.") from None
    _add_body(message, given)
    for number, attachment in enumerate(given.attachments):
        if attachment.content_id is None:
            _attach(message, attachment, f"/attachments/{number}")
    file.write(_fields(given, given.from_))
    try:
        BytesGenerator(file, mangle_from_=False, policy=message.policy).flatten(message)
    except (ValueError, MessageError, UnicodeError):
        raise invalid_field("", "message", "The message cannot be written with these values.") from None


def decoded(text: str, pointer: str) -> bytes:
    """Decodes base64. Raises Problem 422."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_field(pointer, "encoding", "This is not base64.") from None


def _fields(given: MessageToSend, author: NamedAddress) -> bytes:
    """Returns the header fields with names, addresses and the subject. They are not written by EmailMessage, because it
    loses blanks when it folds a long name.
    """
    lines = []
    for name, mailboxes in (("From", [author]), ("To", given.to), ("Cc", given.cc), ("Reply-To", given.reply_to)):
        if mailboxes:
            lines.append(f"{name}: {_addresses(name, mailboxes)}\r\n")
    if given.subject is not None:
        subject = Header(given.subject, _charset(given.subject), _LINE, "Subject")
        lines.append(f"Subject: {subject.encode(linesep=_CRLF)}\r\n")
    return "".join(lines).encode()


def _addresses(name: str, mailboxes: Sequence[NamedAddress]) -> str:
    """Returns a folded list of addresses (RFC 5322 3.4). If an address has other characters than ASCII, nothing in the
    list is encoded (RFC 6532).
    """
    header = Header(maxlinelen=_LINE, header_name=name)
    raw = []
    for number, mailbox in enumerate(mailboxes):
        comma = "," if number + 1 < len(mailboxes) else ""
        text = mailbox.name or ""
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        raw.append(f"{quoted + ' ' if text else ''}<{mailbox.address}>{comma}")
        if _charset(text) == "utf-8":
            header.append(text, "utf-8")
        elif text:
            header.append(quoted, "us-ascii")
        if mailbox.address.isascii():
            header.append(f"<{mailbox.address}>{comma}", "us-ascii")
    if all(mailbox.address.isascii() for mailbox in mailboxes):
        return header.encode(linesep=_CRLF)
    return "\r\n ".join(raw)


def _charset(text: str) -> str:
    """Returns the charset for a text: us-ascii when it needs no encoding. A text that looks like an encoded word is
    encoded too, because mail programs would decode it.
    """
    return "us-ascii" if text.isascii() and "=?" not in text else "utf-8"


def _add_body(message: EmailMessage, given: MessageToSend) -> None:
    """Adds the text, the HTML, or both as alternatives. Attachments that the HTML shows are added as parts related to
    the HTML.
    """
    if given.text is not None or given.html is None:
        message.set_content(given.text or "", charset="utf-8")
    if given.html is None:
        related: EmailMessage = message
    elif given.text is None:
        message.set_content(given.html, subtype="html", charset="utf-8")
        related = message
    else:
        message.add_alternative(given.html, subtype="html", charset="utf-8")
        related = message.get_payload()[-1]  # type: ignore[assignment, index]
    for number, attachment in enumerate(given.attachments):
        if attachment.content_id is not None:
            maintype, _, subtype = attachment.content_type.partition("/")
            related.add_related(
                decoded(attachment.content, f"/attachments/{number}/content"),
                maintype,
                subtype,
                filename=attachment.filename,
                disposition="inline",
                cid=f"<{attachment.content_id}>",
            )


def _attach(message: EmailMessage, attachment: Attachment, pointer: str) -> None:
    maintype, _, subtype = attachment.content_type.partition("/")
    message.add_attachment(
        decoded(attachment.content, f"{pointer}/content"), maintype, subtype, filename=attachment.filename
    )
