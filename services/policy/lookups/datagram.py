"""One question to one name server in one datagram, for answers that are plain; dnspython does whatever is not.

Nearly all answers are plain: a name of letters and digits, no error, nothing cut off. For those dnspython's general
ways cost more CPU than all else that a look-up does. Each question has a socket of its own, so that the port is as hard
to guess as the id, and what does not match is passed over (RFC 5452 4.3, 9.1).
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
from typing import Any

import dns.ipv6

from libs.smtp.value import value

A, PTR, MX, TXT, AAAA = 1, 12, 15, 16, 28
TYPES = {"A": A, "PTR": PTR, "MX": MX, "TXT": TXT, "AAAA": AAAA}
_CNAME, _SOA, _IN = 5, 6, 1
_NXDOMAIN = 3
# Response, of a query; not truncated. Of the other flags any may be set, and the codes are looked at apart.
_FLAGS, _RESPONSE = 0xFA00, 0x8000
_RECURSION_DESIRED = b"\x01\x00"

_PLAIN = re.compile(rb"[a-z0-9_-]{1,63}")
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_MINIMUM = struct.Struct("!I")
_LONGEST_NAME = 253
_LONGEST_CHAIN = 16
_LARGEST_DATAGRAM = 65_535
# RFC 2181 8: a TTL with the first bit set is none.
_LARGEST_TTL = 2**31 - 1


@value(frozen=True, slots=True)
class Plain:
    """What a plain answer holds: no `records` where there are none of the type, or no such name.

    `ttl`: of the records, or as the SOA record says how long there are none; None without one.
    """

    records: tuple[Any, ...]
    ttl: int | None


class ServerFailedError(Exception):
    """The server answered with a code that says neither what there is nor that there is nothing."""


class _NotPlainError(Exception):
    """For dnspython."""


async def ask(server: tuple[int, Any], name: str, record_type: int, seconds: float) -> Plain | None:
    """None: the question or the answer is not plain. `server`: address family and socket address.

    Raises ServerFailedError, and TimeoutError.
    """
    question = _question(name, record_type)
    if question is None:
        return None
    family, address = server
    number = os.urandom(2)
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
            sending.connect(address)
            sending.send(number + _RECURSION_DESIRED + b"\0\x01\0\0\0\0\0\0" + question)
            answer = await _matching(sending, number, question, seconds)
        return _read(answer, question, record_type)
    except TimeoutError:
        raise
    except (OSError, _NotPlainError, IndexError, struct.error):
        return None


async def _matching(sending: socket.socket, number: bytes, question: bytes, seconds: float) -> bytes:
    """Raises TimeoutError, and OSError where nobody listens."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[bytes] = loop.create_future()

    def take() -> None:
        try:
            answer = sending.recv(_LARGEST_DATAGRAM)
        except BlockingIOError:
            return
        except OSError as error:
            if not found.done():
                found.set_exception(error)
            return
        asked = answer[_HEADER.size : _HEADER.size + len(question)]
        if answer[:2] == number and asked.lower() == question.lower() and not found.done():
            found.set_result(answer)

    def give_up() -> None:
        if not found.done():
            found.set_exception(TimeoutError())

    loop.add_reader(sending, take)
    timer = loop.call_later(seconds, give_up)
    try:
        return await found
    finally:
        timer.cancel()
        loop.remove_reader(sending)


def _question(name: str, record_type: int) -> bytes | None:
    """On the wire; None for a name that is not plain."""
    labels = name.encode("ascii", "replace").split(b".")
    if len(name) > _LONGEST_NAME or not all(map(_PLAIN.fullmatch, labels)):
        return None
    written = b"".join([bytes((len(label),)) + label for label in labels])
    return written + b"\0" + record_type.to_bytes(2, "big") + b"\0\x01"


def _read(answer: bytes, question: bytes, record_type: int) -> Plain:
    """Raises ServerFailedError, _NotPlainError, and IndexError or struct.error where it ends too early."""
    _, flags, questions, answers, authorities, _ = _HEADER.unpack_from(answer)
    code = flags & 15
    at = _HEADER.size + len(question)
    if flags & _FLAGS != _RESPONSE or questions != 1:
        raise _NotPlainError
    if code not in (0, _NXDOMAIN):
        raise ServerFailedError
    asked, _ = _name(answer, _HEADER.size)
    aliases: dict[bytes, bytes] = {}
    found: dict[bytes, dict[Any, int]] = {}
    for _ in range(answers):
        owner, at = _name(answer, at)
        kind, of_class, ttl, size = _RECORD.unpack_from(answer, at)
        at += _RECORD.size
        if of_class != _IN:
            raise _NotPlainError
        if kind == record_type:
            found.setdefault(owner, {})[_record(answer, at, size, kind)] = ttl if ttl <= _LARGEST_TTL else 0
        elif kind == _CNAME:
            if owner in aliases:
                raise _NotPlainError
            aliases[owner] = _whole_name(answer, at, size)
        at += size
    for _ in range(_LONGEST_CHAIN):
        if asked in found or asked not in aliases:
            break
        asked = aliases[asked]
    else:
        raise _NotPlainError
    records = found.get(asked)
    if records is None:
        return Plain((), _negative_ttl(answer, at, authorities))
    if code == _NXDOMAIN:
        raise _NotPlainError
    return Plain(tuple(records), min(records.values()))


def _negative_ttl(answer: bytes, at: int, authorities: int) -> int | None:
    """From the SOA record (RFC 2308 5)."""
    for _ in range(authorities):
        _, at = _name(answer, at)
        kind, _, ttl, size = _RECORD.unpack_from(answer, at)
        at += _RECORD.size + size
        if kind == _SOA:
            minimum: int = _MINIMUM.unpack_from(answer, at - _MINIMUM.size)[0]
            return min(int(ttl), minimum)
    return None


def _record(answer: bytes, at: int, size: int, kind: int) -> Any:
    """As `resolver.Answer` has it."""
    data = answer[at : at + size]
    if len(data) != size:
        raise _NotPlainError
    if kind == A:
        if size != 4:
            raise _NotPlainError
        return "{}.{}.{}.{}".format(*data)
    if kind == AAAA:
        if size != 16:
            raise _NotPlainError
        return dns.ipv6.inet_ntoa(data)
    if kind == PTR:
        return _whole_name(answer, at, size).decode()
    if kind == MX:
        return int.from_bytes(data[:2], "big"), _whole_name(answer, at + 2, size - 2).decode()
    strings, start = [], 0
    while start < size:
        end = start + 1 + data[start]
        if end > size:
            raise _NotPlainError
        strings.append(data[start + 1 : end])
        start = end
    if not strings:
        raise _NotPlainError
    return tuple(strings)


def _whole_name(answer: bytes, at: int, size: int) -> bytes:
    """A name that is all of a record's data."""
    name, end = _name(answer, at)
    if end != at + size:
        raise _NotPlainError
    return name


def _name(answer: bytes, at: int) -> tuple[bytes, int]:
    """A name in lower case without a last dot, and where what follows it begins."""
    labels: list[bytes] = []
    end, furthest = 0, at
    while True:
        octets = answer[at]
        if octets >= 0xC0:
            # RFC 1035 4.1.4: to what stands before it, so it comes to an end.
            end = end or at + 2
            at = (octets & 0x3F) << 8 | answer[at + 1]
            if at >= furthest:
                raise _NotPlainError
            furthest = at
        elif octets == 0:
            name = b".".join(labels)
            if len(name) > _LONGEST_NAME:
                raise _NotPlainError
            return name, end or at + 1
        else:
            label = answer[at + 1 : at + 1 + octets].lower()
            if len(label) != octets or not _PLAIN.fullmatch(label):
                raise _NotPlainError
            labels.append(label)
            at += 1 + octets
