"""The header of a message: its end and its fields (RFC 5322 2.2). All functions take linear time.

Lines end in CRLF alone, since ingress lets no bare CR or LF through. All code that reads a header uses this module, so
that checks, trace fields and reports always agree about which octets belong to the header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import overload

from libs.smtp.address import Address
from libs.smtp.mailbox_list import MAX_MAILBOXES, MAX_OCTETS, parse_mailbox_list
from libs.smtp.value import fast_value

# A field name, and the colon with the blanks that obsolete syntax has before it (RFC 5322 4.5).
_NAME = rb"[!-9;-~]++[ \t]*+:"
# The next patterns find the first line that neither begins nor continues a field. The very first line cannot continue a
# field (C13).
_NO_FIELD_FIRST = re.compile(rb"(?!%b)" % _NAME).match
_NO_FIELD_LATER = re.compile(rb"\r\n(?![ \t]|%b)" % _NAME).search
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:((?:[^\r]++|\r(?!\n)|\r\n[ \t])*)(?:\r\n|\Z)").match
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_BLANKS_BEFORE_COLON = re.compile(rb"((?:\A|\r\n)[!-9;-~]++)[ \t]++:")
# A continuation line that has only blanks. Some programs treat a vertical tab or a form feed as a blank.
_BLANK_LINE = re.compile(rb"\r\n[ \t][ \t\x0b\x0c]*+(?=\r\n)")
_EMPTY_LINE = re.compile(rb"\r\n\r\n").search
_BLANKS_AND_COLON = re.compile(rb"[ \t]*+:").match


@fast_value(frozen=True, slots=True)
class Boundary:
    """The end of the header and the start of the body: `content[:header_end]` is the header, and `content[body_start:]`
    the body. Between the two is the empty line. The empty line is missing (`body_start == header_end`) when the header
    ends at a line that is not a field, or at the end of the content. Code that passes the content on writes the empty
    line between the two, so that every next hop and every program sees the header that was checked here (Postfix does
    the same).
    """

    header_end: int
    body_start: int


def boundary(content: bytes | memoryview) -> Boundary:
    """Finds the boundary. The header has all fields from the start up to the first empty line, or up to the first line
    that is not a field. Such a line has no colon, has blanks in its name, or continues no field (C13). Some programs
    stop there and others continue. In this module, the header ends before this line.
    """
    if content[:2] == b"\r\n":
        return Boundary(0, 2)
    if _NO_FIELD_FIRST(content):
        return Boundary(0, 0)
    if isinstance(content, bytes):
        empty = content.find(b"\r\n\r\n")
    else:
        empty_line = _EMPTY_LINE(content)
        empty = empty_line.start() if empty_line else -1
    end = empty + 2 if empty != -1 else len(content)
    # The search and its lookahead both end at `end`, so the last CRLF is followed by nothing.
    stray = _NO_FIELD_LATER(content, 0, end)
    if stray is not None and stray.end() < end:
        return Boundary(stray.end(), stray.end())
    return Boundary(end, end + 2 if empty != -1 else end)


@overload
def split(content: bytes) -> tuple[bytes, bytes]: ...
@overload
def split(content: memoryview) -> tuple[bytes, memoryview]: ...
def split(content: bytes | memoryview) -> tuple[bytes, bytes | memoryview]:
    """Returns the header (each field with its CRLF, without the empty line) and the body (after the empty line); see
    `boundary`.
    """
    where = boundary(content)
    return bytes(content[: where.header_end]), content[where.body_start :]


def unambiguous(header: bytes) -> bytes:
    """Returns the header without obsolete forms at which some programs end the header. The result is the same object if
    there are no such forms.

    Such forms are continuation lines that contain only blanks, and blanks before the colon of a field (RFC 5322 4.2,
    4.5). A program that ends the header there would show the unsigned fields below as the text of a signed message
    (F46). The fields' values do not change, and neither do relaxed signatures.
    """
    header = _BLANK_LINE.sub(b"", header)
    if b" :" in header or b"\t:" in header:
        header = _BLANKS_BEFORE_COLON.sub(rb"\1:", header)
    return header


@fast_value(frozen=True, slots=True)
class Field:
    """A header field. `name` is in lower case. `raw` is the unchanged field with its CRLF. `value` is unfolded, without
    outer blanks.
    """

    name: bytes
    raw: bytes
    value: bytes


def fields(header: bytes) -> Iterator[Field]:
    """Yields the fields of a header from the top. Stops at a line that is not a field. A header from `split` has no
    such line.
    """
    position = 0
    while (match := _FIELD(header, position)) is not None:
        yield Field(match[1].lower(), match[0], _unfolded(match[2]))
        position = match.end()


def values(header: bytes, name: bytes) -> list[bytes]:
    """Returns the value of each field with this name (in any case) from the top, in the form of `Field.value`."""
    return [_unfolded(_field_at(header, start)[2]) for start in _starts(header, name)]


def count(header: bytes, name: bytes) -> int:
    """Returns the number of fields with this name (in any case) in a header (C43)."""
    return len(_starts(header, name))


def remove(header: bytes, predicate: Callable[[Field], bool]) -> bytes:
    """Returns the header without the fields for which `predicate` is true. All other octets do not change."""
    remaining: list[bytes] = []
    position = removed = 0
    for field in fields(header):
        if predicate(field):
            removed += 1
        else:
            remaining.append(field.raw)
        position += len(field.raw)
    return b"".join(remaining) + header[position:] if removed else header


def remove_named(header: bytes, name: bytes) -> bytes:
    """Returns the header without the fields with this name (in any case). If there are none, this costs only one
    search.
    """
    starts = _starts(header, name)
    if not starts:
        return header
    remaining: list[bytes] = []
    position = 0
    for start in starts:
        remaining.append(header[position:start])
        position = _field_at(header, start).end()
    remaining.append(header[position:])
    return b"".join(remaining)


@fast_value(frozen=True, slots=True)
class FromHeader:
    """The authors of a message. `addresses` has the mailboxes of all From fields, up to a limit. `unparsable` means
    that a field contains something else or nothing, or that there is more than the limit. Without a From field,
    `field_count` is 0 and `unparsable` is False, and checks must treat this case too (C98).
    """

    field_count: int
    addresses: tuple[Address, ...]
    unparsable: bool


def from_mailboxes(header: bytes) -> FromHeader:
    """Reads the author addresses of a message from all forms of From fields, up to a limit. Never raises."""
    texts = values(header, b"from")
    addresses: list[Address] = []
    unparsable = False
    room = MAX_OCTETS
    for text in texts:
        mailboxes = parse_mailbox_list(text[:room])
        addresses.extend(mailboxes.addresses)
        unparsable |= mailboxes.unparsable or len(text) > room
        room -= min(len(text), room)
    return FromHeader(len(texts), tuple(addresses[:MAX_MAILBOXES]), unparsable or len(addresses) > MAX_MAILBOXES)


def needs_smtputf8(header: bytes) -> bool:
    """Whether a header holds bytes over 127. A message that came with SMTPUTF8 must then leave with it (RFC 6532; C59).

    In a message that came without SMTPUTF8, such bytes are unlabelled text of old programs, and need no extension.
    """
    return not header.isascii()


def _unfolded(value: bytes) -> bytes:
    if b"\r\n" in value:
        value = _FOLD.sub(b"", value)
    return value.strip(b" \t\r\n")


def _field_at(header: bytes, start: int) -> re.Match[bytes]:
    field = _FIELD(header, start)
    if field is None:
        raise ValueError("no field starts there")
    return field


def _starts(header: bytes, name: bytes) -> list[int]:
    """Returns the position of each field with this name. This function uses only bulk searches, because it runs for
    every message.
    """
    lines = b"\r\n" + header.lower()
    line_start = b"\r\n" + name.lower()
    starts: list[int] = []
    position = lines.find(line_start)
    while position != -1:
        after = position + len(line_start)
        if lines[after : after + 1] == b":" or _BLANKS_AND_COLON(lines, after):
            starts.append(position)
        position = lines.find(line_start, after)
    return starts
