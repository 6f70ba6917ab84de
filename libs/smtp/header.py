"""The header of a message: its end and its fields (RFC 5322 2.2). All functions take linear time.

Lines end in CRLF alone, since ingress lets no bare CR or LF through. All code that looks at a header uses this module,
so that checks, trace fields and reports always agree about which bytes are header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import overload

from libs.smtp.address import Address
from libs.smtp.mailbox_list import MAX_MAILBOXES, MAX_OCTETS, parse_mailbox_list
from libs.smtp.value import fast_value

# Field name, and the colon with the blanks that obsolete syntax has before it (RFC 5322 4.5).
_NAME = rb"[!-9;-~]++[ \t]*+:"
# These find the first line that neither begins nor continues a field. The very first line can continue none (C13).
_NO_FIELD_FIRST = re.compile(rb"(?!%b)" % _NAME).match
_NO_FIELD_LATER = re.compile(rb"\r\n(?![ \t]|%b)" % _NAME).search
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:((?:[^\r]++|\r(?!\n)|\r\n[ \t])*)(?:\r\n|\Z)").match
_FOLD = re.compile(rb"\r\n(?=[ \t])")
# A continuation line of nothing but blanks. Some readers take a vertical tab or a form feed for a blank.
_BLANKS_BEFORE_COLON = re.compile(rb"((?:\A|\r\n)[!-9;-~]++)[ \t]++:")
_BLANK_LINE = re.compile(rb"\r\n[ \t][ \t\x0b\x0c]*+(?=\r\n)")
_EMPTY_LINE = re.compile(rb"\r\n\r\n").search
_BLANKS_AND_COLON = re.compile(rb"[ \t]*+:").match


@fast_value(frozen=True, slots=True)
class Boundary:
    """Where the header ends and the body begins: `content[:header_end]` is the header, `content[body_start:]` the body.

    Between the two stands the empty line. It is missing (`body_start == header_end`) when the header ends at a line
    that is no field, or with the content. Whoever passes the content on writes the empty line between the two, so that
    every next hop and reader sees the header that was judged here (Postfix does the same).
    """

    header_end: int
    body_start: int


def boundary(content: bytes | memoryview) -> Boundary:
    """The header is every field from the start on, up to the first empty line, or the first line that is no field.

    A line that is no field has no colon, or blanks in its name, or continues nothing (C13). Some readers stop there and
    others go on; here the header ends before it.
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
    """Header (each field with its CRLF, without the empty line) and body (after the empty line); see `boundary`."""
    where = boundary(content)
    return bytes(content[: where.header_end]), content[where.body_start :]


def unambiguous(header: bytes) -> bytes:
    """The header without the obsolete forms at which some readers end it; the very same object if there are none.

    These are continuation lines that hold nothing but blanks, and blanks before the colon of a field (RFC 5322 4.2,
    4.5). Such a reader would show the unsigned fields below them as the text of a signed message (F46). The fields'
    values do not change, and neither do relaxed signatures.
    """
    header = _BLANK_LINE.sub(b"", header)
    if b" :" in header or b"\t:" in header:
        header = _BLANKS_BEFORE_COLON.sub(rb"\1:", header)
    return header


@fast_value(frozen=True, slots=True)
class Field:
    """`name`: in lower case. `raw`: the field unchanged, with its CRLF. `value`: unfolded, without outer blanks."""

    name: bytes
    raw: bytes
    value: bytes


def fields(header: bytes) -> Iterator[Field]:
    """The fields of a header from the top. Stops at a line that is no field, which a header from `split` never has."""
    position = 0
    while (match := _FIELD(header, position)) is not None:
        yield Field(match[1].lower(), match[0], _unfolded(match[2]))
        position = match.end()


def values(header: bytes, name: bytes) -> list[bytes]:
    """The value of each field of that name (in any case) from the top, as `Field.value`."""
    return [_unfolded(_field_at(header, start)[2]) for start in _starts(header, name)]


def count(header: bytes, name: bytes) -> int:
    """Number of fields of that name (in any case) in a header (C43)."""
    return len(_starts(header, name))


def remove(header: bytes, predicate: Callable[[Field], bool]) -> bytes:
    """The header without the fields for which `predicate` is true; all other bytes stay as they are."""
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
    """The header without the fields of that name (in any case). Costs one search when there is none."""
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
    """`addresses`: every mailbox of every From field. `unparsable`: a field holds something else, or nothing.

    Without any From field `field_count` is 0 and `unparsable` is false; no check may be skipped for that (C98).
    """

    field_count: int
    addresses: tuple[Address, ...]
    unparsable: bool


def from_mailboxes(header: bytes) -> FromHeader:
    """Reads the author addresses of a message, whatever its From fields look like, up to a bound. Never raises."""
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

    In a message that came without it, such bytes are unlabelled text of old programs, and need no extension.
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
    """The position of each field of that name. It uses bulk searches alone, since it runs for every message."""
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
