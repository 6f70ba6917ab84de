"""The Message-ID and the subject of a content, and the keys by which a Message-ID is looked up. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from zlib import crc32

from libs.smtp import header

# A header that is longer is not searched to its end.
_HEADER_OCTETS = 256 * 1024
# The longest line of a message (RFC 5322 2.1.1).
_LONGEST = 998
# Keys of messages that came one after the other are neighbours, so that a commit writes to few pages of the index. A
# hash alone would spread the messages of one commit over the whole index: a page more to write for each message. A
# search looks up one key for each group of numbers that messages may have.
_GROUP_BITS = 10
_GROUPS = 1 << 31
_HASH_BITS = 32
# The name of the field, whatever its case, after the end of a line. The two octets at its beginning make it fast.
_FIELD_NAME = re.compile(rb"\r\n[Mm][Ee][Ss][Ss][Aa][Gg][Ee]-[Ii][Dd](?=[ \t]*+:)").search
_USUAL_VALUE = re.compile(rb": <([!-;=?-~]{1,%d})>" % _LONGEST).match


def message_id_of(content: bytes) -> str:
    """The first Message-ID without its angle brackets; empty when there is none.

    Nearly every program writes it in one form, which is found at a fifth of the price.
    """
    end = content.find(b"\r\n\r\n", 0, _HEADER_OCTETS)
    field = _FIELD_NAME(content, 0, end if end >= 0 else _HEADER_OCTETS)
    # The first field of all has no line before it.
    if content[:10].lower() != b"message-id":
        if field is None:
            return ""
        usual = _USUAL_VALUE(content, field.end())
        if usual is not None:
            return usual[1].decode("ascii")
    values = header.values(_top(content), b"message-id")
    return bare(values[0]) if values else ""


def bare(value: bytes) -> str:
    """A Message-ID as it is stored and searched for: what is between angle brackets, or all where there are none."""
    start = value.find(b"<") + 1
    end = value.find(b">", start) if start else -1
    return _text(value[start:end] if end >= 0 else value)


def subject_of(content: bytes) -> str:
    """The first Subject, its encoded words decoded (RFC 2047); empty when there is none."""
    values = header.values(_top(content), b"subject")
    if not values:
        return ""
    raw = _text(values[0])
    try:
        decoded = str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, ValueError):
        return raw
    return decoded[:_LONGEST].replace("\x00", "\ufffd")


def index_key(message_id: str, number: int) -> int:
    """The key of the message with that number in the index of Message-IDs: its group of numbers, then a hash."""
    return _group(number >> _GROUP_BITS) | _hash(message_id)


def index_keys(message_id: str, lowest: int, highest: int) -> Iterator[int]:
    """The keys that a message with a number between the two may have."""
    hashed = _hash(message_id)
    for group in range(lowest >> _GROUP_BITS, (highest >> _GROUP_BITS) + 1):
        yield _group(group) | hashed


def _group(group: int) -> int:
    return group % _GROUPS << _HASH_BITS


def _hash(message_id: str) -> int:
    # Collisions that somebody makes on purpose do no harm, since the text is compared as well.
    return crc32(message_id.encode("utf-8", "surrogatepass"))


def _top(content: bytes) -> bytes:
    end = content.find(b"\r\n\r\n", 0, _HEADER_OCTETS)
    return content[: end + 2 if end >= 0 else _HEADER_OCTETS]


def _text(value: bytes) -> str:
    return value[:_LONGEST].strip().decode("utf-8", "backslashreplace").replace("\x00", "\ufffd")
