"""The header of the PROXY protocol, versions 1 and 2 (HAProxy, proxy-protocol.txt). This module is pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from libs.smtp.network import canonical_ip
from services.ingress.session import Peer

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_PREFIX = b"PROXY "
_V1_OCTETS = 107
_V2_HEAD_OCTETS = 16
# The addresses take up to 36 octets, and extensions follow. A longer header is refused.
_V2_BODY_OCTETS = 2_048
_V1_KNOWN = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f.:]{2,39}) ([0-9A-Fa-f.:]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})"
).fullmatch


class ProxyError(ValueError):
    """The header is not valid. The connection is closed without an SMTP reply."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header of `octets` octets. `peer` has the ends of the connection that the proxy accepted. `peer` is None for a
    connection of the proxy itself, such as a health check (LOCAL, UNKNOWN).
    """

    octets: int
    peer: Peer | None


def parse(received: bytes) -> ProxyHeader | None:
    """Returns the header at the front of the received octets, or None while it is incomplete. Raises ProxyError."""
    if received.startswith(_SIGNATURE[: len(received)]):
        return _version_2(received)
    if received.startswith(_V1_PREFIX[: len(received)]):
        return _version_1(received)
    raise ProxyError("no PROXY header")


def _version_1(received: bytes) -> ProxyHeader | None:
    end = received.find(b"\r\n", 0, _V1_OCTETS)
    if end < 0:
        if len(received) >= _V1_OCTETS:
            raise ProxyError("PROXY line too long")
        return None
    line = received[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(end + 2, None)
    fields = _V1_KNOWN(line)
    if fields is None:
        raise ProxyError("bad PROXY line")
    family, source, target, source_port, target_port = (part.decode("ascii") for part in fields.groups())
    address_type = IPv4Address if family == "4" else IPv6Address
    try:
        address_type(source), address_type(target)
    except ValueError:
        raise ProxyError("bad address in PROXY line") from None
    return ProxyHeader(end + 2, _peer(source, _port(source_port), target, _port(target_port)))


def _port(text: str) -> int:
    if len(text) > 1 and text.startswith("0"):
        raise ProxyError("bad port in PROXY line")
    number = int(text)
    if number > 65_535:
        raise ProxyError("bad port in PROXY line")
    return number


def _version_2(received: bytes) -> ProxyHeader | None:
    if len(received) < _V2_HEAD_OCTETS:
        return None
    version_and_command, family = received[12], received[13]
    length = int.from_bytes(received[14:16])
    if version_and_command >> 4 != 2 or version_and_command & 0xF > 1 or length > _V2_BODY_OCTETS:
        raise ProxyError("bad PROXY header")
    if len(received) < _V2_HEAD_OCTETS + length:
        return None
    octets = _V2_HEAD_OCTETS + length
    if version_and_command & 0xF == 0:
        return ProxyHeader(octets, None)
    body = received[_V2_HEAD_OCTETS:octets]
    match family:
        case 0x11:
            width = 4
        case 0x21:
            width = 16
        case _:
            raise ProxyError("neither TCP over IPv4 nor over IPv6")
    if length < 2 * width + 4:
        raise ProxyError("addresses cut short")
    source, target = (_address(body[start : start + width]) for start in (0, width))
    ports = body[2 * width : 2 * width + 4]
    return ProxyHeader(octets, _peer(source, int.from_bytes(ports[:2]), target, int.from_bytes(ports[2:])))


def _address(packed: bytes) -> str:
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


def _peer(source: str, source_port: int, target: str, target_port: int) -> Peer:
    return Peer(str(canonical_ip(source)), source_port, str(canonical_ip(target)), target_port)
