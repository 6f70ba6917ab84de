"""Writes a DNS answer to the wire: correctly, or with a mistake that real servers or attackers make."""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

_UDP_WITHOUT_EDNS = 512


class Behaviour(enum.Enum):
    """What the DNS peer sends in place of the correct answer, or in addition to it."""

    NXDOMAIN = enum.auto()
    NODATA = enum.auto()
    SERVFAIL = enum.auto()
    REFUSED = enum.auto()
    FORMERR = enum.auto()
    NOTIMP = enum.auto()
    # A question with EDNS gets an error, and a question without EDNS gets the correct answer, as from servers that are
    # older than RFC 6891.
    FORMERR_TO_EDNS = enum.auto()
    NOTIMP_TO_EDNS = enum.auto()
    BADVERS_TO_EDNS = enum.auto()
    # A question with EDNS gets FORMERR in a bare header of 12 octets, which does not repeat the question.
    BARE_FORMERR_TO_EDNS = enum.auto()
    # There is no answer at all, over UDP and TCP.
    SILENT = enum.auto()
    # Over UDP the answer is empty and has the TC flag. Over TCP the answer is correct.
    TRUNCATED = enum.auto()
    # Over UDP the answer is empty and has the TC flag. TCP connections are closed without an answer.
    TRUNCATED_WITHOUT_TCP = enum.auto()
    # Over UDP three forged answers come first: with a wrong id, with another question, and from another source port.
    FORGED_FIRST = enum.auto()
    # The answer is a datagram shorter than a DNS header.
    SHORT = enum.auto()
    # The correct answer comes without its last bytes.
    CUT = enum.auto()
    # The owner name in the answer is a compression pointer to itself.
    POINTER_LOOP = enum.auto()
    # The rdata of an MX record contains a preference and no host.
    SHORT_MX = enum.auto()
    # The answer consists of bytes that are not a DNS message.
    GARBAGE = enum.auto()


RCODES: Mapping[Behaviour, dns.rcode.Rcode] = {
    Behaviour.NXDOMAIN: dns.rcode.NXDOMAIN,
    Behaviour.SERVFAIL: dns.rcode.SERVFAIL,
    Behaviour.REFUSED: dns.rcode.REFUSED,
    Behaviour.FORMERR: dns.rcode.FORMERR,
    Behaviour.NOTIMP: dns.rcode.NOTIMP,
}


_ERRORS_TO_EDNS: Mapping[Behaviour, dns.rcode.Rcode] = {
    Behaviour.FORMERR_TO_EDNS: dns.rcode.FORMERR,
    Behaviour.NOTIMP_TO_EDNS: dns.rcode.NOTIMP,
    Behaviour.BADVERS_TO_EDNS: dns.rcode.BADVERS,
}


@dataclass(frozen=True, slots=True)
class Response:
    """The datagrams to send in order, the datagrams to send from another source port, and whether TCP is closed."""

    datagrams: Sequence[bytes] = ()
    from_elsewhere: Sequence[bytes] = ()
    close: bool = False


def render(
    query: dns.message.Message, answer: dns.message.Message, behaviour: Behaviour | None, transport: str
) -> Response:
    over_udp = transport == "udp"
    limit = max(query.payload, _UDP_WITHOUT_EDNS) if over_udp else 65535
    true = answer.to_wire(max_size=limit, prefer_truncation=True, want_shuffle=False)
    header = struct.pack("!HHHHHH", query.id, 0x8180, 1, 1, 0, 0)
    asked = query.question[0]
    question = asked.name.to_digestable() + struct.pack("!HH", asked.rdtype, asked.rdclass)
    match behaviour:
        case Behaviour.SILENT:
            return Response()
        case Behaviour() if behaviour in _ERRORS_TO_EDNS and query.edns >= 0:
            error = dns.message.make_response(query, recursion_available=True)
            error.set_rcode(_ERRORS_TO_EDNS[behaviour])
            if behaviour is not Behaviour.BADVERS_TO_EDNS:
                error.use_edns(False)
            return Response((error.to_wire(),))
        case Behaviour.BARE_FORMERR_TO_EDNS if query.edns >= 0:
            return Response((struct.pack("!HHHHHH", query.id, 0x8180 | dns.rcode.FORMERR, 0, 0, 0, 0),))
        case Behaviour.TRUNCATED | Behaviour.TRUNCATED_WITHOUT_TCP if over_udp:
            empty = dns.message.make_response(query, recursion_available=True)
            empty.flags |= dns.flags.TC
            return Response((empty.to_wire(),))
        case Behaviour.TRUNCATED_WITHOUT_TCP:
            return Response(close=True)
        case Behaviour.FORGED_FIRST if over_udp:
            return Response((*_forgeries(query), true), from_elsewhere=(_forgery(query),))
        case Behaviour.SHORT:
            return Response((true[:7],))
        case Behaviour.CUT:
            return Response((true[:-3],))
        case Behaviour.POINTER_LOOP:
            at = len(header) + len(question)
            pointer = struct.pack("!H", 0xC000 | at)
            return Response((header + question + pointer + struct.pack("!HHIH", asked.rdtype, 1, 60, 0),))
        case Behaviour.SHORT_MX:
            record = struct.pack("!HHHIH", 0xC00C, dns.rdatatype.MX, 1, 60, 2) + struct.pack("!H", 10)
            return Response((header + question + record,))
        case Behaviour.GARBAGE:
            return Response((struct.pack("!H", query.id) + b"\xff" * 40,))
        case _:
            return Response((true,))


def _forgery(query: dns.message.Message) -> bytes:
    """Returns a well-formed but false answer: NXDOMAIN."""
    lie = dns.message.make_response(query, recursion_available=True)
    lie.set_rcode(dns.rcode.NXDOMAIN)
    return lie.to_wire()


def _forgeries(query: dns.message.Message) -> tuple[bytes, bytes]:
    right = _forgery(query)
    wrong_id = struct.pack("!H", query.id ^ 0x5A5A) + right[2:]
    other = dns.message.make_query("forged.invalid.", query.question[0].rdtype)
    other.id = query.id
    return wrong_id, _forgery(other)
