"""The one place that says where a message's header ends and what its fields are (RFC 5322 2.2), in linear time.

Lines end in CRLF and nothing else: ingress lets no bare CR or LF through. Everything that looks at a header uses this
module, so that checks, trace fields and reports never disagree about which bytes are header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import overload

from libs.smtp.address import Address
from libs.smtp.mailbox_list import MAX_MAILBOXES, MAX_OCTETS, parse_mailbox_list
from libs.smtp.value import value

# Field name, and the colon with the blanks that obsolete syntax has before it (RFC 5322 4.5).
_NAME = rb"[!-9;-~]++[ \t]*+:"
# The first line that neither begins nor continues a field. At the very start nothing can be continued (C13).
_NO_FIELD_FIRST = re.compile(rb"(?!%b)" % _NAME).match
_NO_FIELD_LATER = re.compile(rb"\r\n(?![ \t]|%b)" % _NAME).search
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:((?:[^\r]++|\r(?!\n)|\r\n[ \t])*)(?:\r\n|\Z)").match
_FOLD = re.compile(rb"\r\n(?=[ \t])")
# A continuation line of nothing but blanks. Some readers take a vertical tab or a form feed for a blank.
_BLANK_LINE = re.compile(rb"\r\n[ \t][ \t\x0b\x0c]*+(?=\r\n)")
_EMPTY_LINE = re.compile(rb"\r\n\r\n").search
_BLANKS_AND_COLON = re.compile(rb"[ \t]*+:").match


@value(frozen=True, slots=True)
class Boundary:
    """Where header and body part: `content[:header_end]` is the header, `content[body_start:]` the body.

    Between the two stands the empty line. It is missing (`body_start == header_end`) when the header ends at a line
    that is no field, or with the content. Whoever passes the content on writes the empty line between the two, so that
    every next hop and reader sees the header that was judged here (Postfix does the same).
    """

    header_end: int
    body_start: int


def boundary(content: bytes | memoryview) -> Boundary:
    """The header is every field from the start on, up to the first empty line, or the first line that is no field.

    The latter (no colon, a name with blanks, a continuation as the very first line: C13) is where some readers go on
    and others stop; the header ends before it.
    """
    if content[:2] == b"\r\n":
        return Boundary(0, 2)
    if _NO_FIELD_FIRST(content):
        return Boundary(0, 0)
    if isinstance(content, bytes):
        empty = content.find(b"\r\n\r\n")
    else:
        found = _EMPTY_LINE(content)
        empty = found.start() if found else -1
    end = empty + 2 if empty != -1 else len(content)
    # A search ends at `end`, and what it looks ahead at does too: the last CRLF is followed by nothing.
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


def without_blank_lines(header: bytes) -> bytes:
    """The header without continuation lines that hold nothing but blanks; the very same object if there are none.

    By RFC 5322 4.2 they belong to their field. But some readers end the header there, and would show unsigned fields
    below a signed header as the text of the message. Neither the field's value nor a relaxed signature changes (F46).
    """
    return _BLANK_LINE.sub(b"", header)


@value(frozen=True, slots=True)
class Field:
    """`name`: lower case. `raw`: the field as it stands, with its CRLF. `value`: unfolded, without outer blanks."""

    name: bytes
    raw: bytes
    value: bytes


def fields(header: bytes) -> Iterator[Field]:
    """The fields of a header, top down. Ends at a line that is no field, which a header of `split` has none of."""
    position = 0
    while (found := _FIELD(header, position)) is not None:
        yield Field(found[1].lower(), found[0], _unfolded(found[2]))
        position = found.end()


def values(header: bytes, name: bytes) -> list[bytes]:
    """The value of each field of that name (any case), top down, as `Field.value`."""
    return [_unfolded(_field_at(header, start)[2]) for start in _starts(header, name)]


def count(header: bytes, name: bytes) -> int:
    """How many fields of that name (any case) a header has (C43)."""
    return len(_starts(header, name))


def remove(header: bytes, predicate: Callable[[Field], bool]) -> bytes:
    """The header without the fields for which `predicate` is true; the others stay byte for byte."""
    kept: list[bytes] = []
    position = removed = 0
    for field in fields(header):
        if predicate(field):
            removed += 1
        else:
            kept.append(field.raw)
        position += len(field.raw)
    return b"".join(kept) + header[position:] if removed else header


def remove_named(header: bytes, name: bytes) -> bytes:
    """The header without the fields of that name (any case). Costs one search when there is none."""
    starts = _starts(header, name)
    if not starts:
        return header
    kept: list[bytes] = []
    position = 0
    for start in starts:
        kept.append(header[position:start])
        position = _field_at(header, start).end()
    kept.append(header[position:])
    return b"".join(kept)


@value(frozen=True, slots=True)
class FromHeader:
    """`addresses`: every mailbox of every From field. `unparsable`: a field holds something else or nothing.

    No field at all is `field_count` 0, and neither unparsable nor a reason to skip a check (C98).
    """

    field_count: int
    addresses: tuple[Address, ...]
    unparsable: bool


def from_mailboxes(header: bytes) -> FromHeader:
    """The author addresses of a message, whatever its From fields look like. Never raises; bounded in all."""
    found = values(header, b"from")
    addresses: list[Address] = []
    unparsable = False
    room = MAX_OCTETS
    for text in found:
        one = parse_mailbox_list(text[:room])
        addresses.extend(one.addresses)
        unparsable |= one.unparsable or len(text) > room
        room -= min(len(text), room)
    return FromHeader(len(found), tuple(addresses[:MAX_MAILBOXES]), unparsable or len(addresses) > MAX_MAILBOXES)


def needs_smtputf8(header: bytes) -> bool:
    """Whether a header holds bytes over 127: a message that came by SMTPUTF8 then must go by it (RFC 6532; C59).

    In one that did not, such bytes are old unlabelled text, which changes nothing.
    """
    return not header.isascii()


def _unfolded(value: bytes) -> bytes:
    if b"\r\n" in value:
        value = _FOLD.sub(b"", value)
    return value.strip(b" \t\r\n")


def _field_at(header: bytes, start: int) -> re.Match[bytes]:
    found = _FIELD(header, start)
    if found is None:
        raise ValueError("no field starts there")
    return found


def _starts(header: bytes, name: bytes) -> list[int]:
    """Where each field of that name starts. Bulk searches only: this runs on every message."""
    lines = b"\r\n" + header.lower()
    wanted = b"\r\n" + name.lower()
    starts: list[int] = []
    position = lines.find(wanted)
    while position != -1:
        after = position + len(wanted)
        if lines[after : after + 1] == b":" or _BLANKS_AND_COLON(lines, after):
            starts.append(position)
        position = lines.find(wanted, after)
    return starts
