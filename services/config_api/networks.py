"""IP networks as operators write them, in canonical CIDR; netmasks that are no prefix for access rules."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from services.config_api.fields import fault, ip_address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """CIDR, address/netmask or a single address. Raises ValueError for host bits, naming the right network."""
    address, slash, mask = text.partition("/")
    ip = ipaddress.ip_address(_plain(address))
    length = _prefix(ip, mask) if slash else ip.max_prefixlen
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None and length >= 96:
        ip, length = ip.ipv4_mapped, length - 96
    network = ipaddress.ip_network((ip, length), strict=False)
    if network.network_address != ip:
        raise ValueError(f"has host bits set: the network is {network}")
    return network


def _plain(text: str) -> str:
    ip_address(text)
    return text


def _prefix(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, mask: str) -> int:
    if re.fullmatch(r"[0-9]{1,3}", mask):
        if int(mask) > ip.max_prefixlen:
            raise ValueError(f"prefix length is at most {ip.max_prefixlen}")
        return int(mask)
    try:
        bits = int(ipaddress.ip_address(_plain(mask)))
    except ValueError:
        raise ValueError("must be CIDR such as 192.0.2.0/24, or address/netmask") from None
    if ("." in mask) != (ip.version == 4) or (":" in mask) == (ip.version == 4):
        raise ValueError("address and netmask are of different families")
    length = bits.bit_count()
    if bits != ((1 << length) - 1) << (ip.max_prefixlen - length):
        raise ValueError("netmask is not contiguous")
    return length


def parse_masked(text: str) -> str:
    """As an access rule takes it: host bits are dropped, an IPv4 mask may have any pattern. Raises ValueError.

    Canonical: CIDR where the mask is a prefix, else value/mask with the value's bits outside of the mask cleared.
    """
    address, slash, mask = text.partition("/")
    ip = ipaddress.ip_address(_plain(address))
    if slash and "." in mask and isinstance(ip, ipaddress.IPv4Address):
        bits = int(ipaddress.IPv4Address(_mask(mask)))
        length = bits.bit_count()
        value = ipaddress.IPv4Address(int(ip) & bits)
        if bits != (((1 << length) - 1) << (32 - length)):
            return f"{value}/{ipaddress.IPv4Address(bits)}"
        return str(ipaddress.ip_network((value, length)))
    length = _prefix(ip, mask) if slash else ip.max_prefixlen
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None and length >= 96:
        ip, length = ip.ipv4_mapped, length - 96
    return str(ipaddress.ip_network((ip, length), strict=False))


def _mask(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError("netmask must be four numbers, such as 255.255.255.0") from None


def _canonical(text: str) -> str:
    try:
        return str(parse_network(text))
    except ValueError as error:
        raise fault("network", str(error)) from None


Cidr = Annotated[
    str,
    Field(
        min_length=2,
        max_length=90,
        pattern=r"^[0-9A-Fa-f:./]+$",
        examples=["192.0.2.0/24", "2001:db8::/32", "198.51.100.0/255.255.255.0"],
        description="CIDR, or address/netmask with a contiguous mask, IPv4 or IPv6; no host bits. Kept as CIDR.",
    ),
    AfterValidator(_canonical),
]


def covers(network: str, address: str) -> bool:
    """Whether a canonical network holds an address."""
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)
