"""Finds the Message-ID and the subject of a content, and makes the keys by which a Message-ID is looked up. This module
is pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from zlib import crc32

from libs.smtp import header

# Only this part of a longer header is searched.
_HEADER_OCTETS = 256 * 1024
# The longest line of a message (RFC 5322 2.1.1).
_LONGEST = 998
# Keys of messages that came one after the other are neighbours, so that a commit writes to few pages of the index. With
# a hash alone, the messages of one commit would be spread over the whole index, and each message would cost the write
# of another page. A search looks up one key for each group of numbers that messages may have.
_GROUP_BITS = 10
_GROUPS = 1 << 31
_HASH_BITS = 32
# The name of the field in any case, after the end of a line. The search for the two octets at its beginning is fast.
_FIELD_NAME = re.compile(rb"\r\n[Mm][Ee][Ss][Ss][Aa][Gg][Ee]-[Ii][Dd](?=[ \t]*+:)").search
_USUAL_VALUE = re.compile(rb": <([!-;=?-~]{1,%d})>" % _LONGEST).match


def message_id_of(content: bytes) -> str:
    """Returns the first Message-ID without its angle brackets. The result is empty when there is none.

    Nearly every program writes the field in the same form. The search for this form comes first, because it takes a
    fifth of the time of a full parse.
    """
    end = content.find(b"\r\n\r\n", 0, _HEADER_OCTETS)
    field = _FIELD_NAME(content, 0, end if end >= 0 else _HEADER_OCTETS)
    # The first field of the header has no line before it.
    if content[:10].lower() != b"message-id":
        if field is None:
            return ""
        usual = _USUAL_VALUE(content, field.end())
        if usual is not None:
            return usual[1].decode("ascii")
    values = header.values(_top(content), b"message-id")
    return bare(values[0]) if values else ""


def bare(value: bytes) -> str:
    """Returns a Message-ID as it is stored and searched for: the text between angle brackets, or the whole text when it
    has no brackets.
    """
    start = value.find(b"<") + 1
    end = value.find(b">", start) if start else -1
    return _text(value[start:end] if end >= 0 else value)


def subject_of(content: bytes) -> str:
    """Returns the first Subject with its encoded words decoded (RFC 2047). The result is empty when there is none."""
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
    """Returns the key in the index of Message-IDs for the message with this number: its group of numbers, then a
    hash.
    """
    return _group(number >> _GROUP_BITS) | _hash(message_id)


def index_keys(message_id: str, lowest: int, highest: int) -> Iterator[int]:
    """Returns the keys that messages with a number between the two may have."""
    hashed = _hash(message_id)
    for group in range(lowest >> _GROUP_BITS, (highest >> _GROUP_BITS) + 1):
        yield _group(group) | hashed


def _group(group: int) -> int:
    return group % _GROUPS << _HASH_BITS


def _hash(message_id: str) -> int:
    # Collisions that somebody makes on purpose do no harm, because the text is compared too.
    return crc32(message_id.encode("utf-8", "surrogatepass"))


def _top(content: bytes) -> bytes:
    end = content.find(b"\r\n\r\n", 0, _HEADER_OCTETS)
    return content[: end + 2 if end >= 0 else _HEADER_OCTETS]


def _text(value: bytes) -> str:
    return value[:_LONGEST].strip().decode("utf-8", "backslashreplace").replace("\x00", "\ufffd")
