"""Client addresses and networks in one canonical form, for counters, for access rules and for trusted networks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

# IPv6 clients are counted by networks of this size: every site has at least a /64, and one machine may use all of it
# (C104).
IPV6_CLIENT_PREFIX = 64
# The addresses of an IPv4 /24 network mostly belong to one owner, because they are rented together.
IPV4_SHARING_PREFIX = 24

_PREFIX = re.compile(r"[0-9]{1,3}").fullmatch
_MAPPED = IPv6Network("::ffff:0:0/96")

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network


def canonical_ip(text: str) -> IPAddress:
    """Returns the address in `text`. An IPv4-mapped IPv6 address becomes IPv4, and a zone id (`fe80::1%eth0`) is
    dropped. Raises ValueError.
    """
    bare = text.partition("%")[0]
    try:
        if ":" not in bare:
            # Only IPv6 has zones.
            return IPv4Address(text)
        address = IPv6Address(bare)
    except ValueError:
        raise ValueError("not an IP address") from None
    return address.ipv4_mapped or address


@lru_cache(maxsize=4096)
def counter_key(address: str) -> str:
    """Returns the key under which a client is counted: its IPv4 address, or its IPv6 /64 network in CIDR form. Raises
    ValueError.
    """
    client = canonical_ip(address)
    if isinstance(client, IPv4Address):
        return str(client)
    return str(IPv6Network((int(client), IPV6_CLIENT_PREFIX), strict=False))


@lru_cache(maxsize=4096)
def sharing_network(address: str) -> str:
    """Returns the network whose clients share one part of a limited resource: an IPv4 /24 or an IPv6 /64. Raises
    ValueError.
    """
    client = canonical_ip(address)
    prefix = IPV4_SHARING_PREFIX if isinstance(client, IPv4Address) else IPV6_CLIENT_PREFIX
    network = IPv4Network if isinstance(client, IPv4Address) else IPv6Network
    return str(network((int(client), prefix), strict=False))


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """The criterion `network` of an access rule: it matches when `client & mask == value`, in the same IP version.

    `value` has no bit outside `mask`. An IPv4 mask may be any bit pattern; an IPv6 mask is a prefix.
    """

    version: int
    value: int
    mask: int

    def matches(self, client: IPAddress) -> bool:
        """Whether the pattern matches the address of a client, in the form of `canonical_ip`."""
        return client.version == self.version and int(client) & self.mask == self.value

    def __str__(self) -> str:
        """Returns the form that is shown and stored: CIDR if the mask is a prefix, and otherwise
        `192.32.0.1/255.100.10.1`.
        """
        base = IPv4Address(self.value) if self.version == 4 else IPv6Address(self.value)
        prefix = _prefix_length(self.mask, base.max_prefixlen)
        return f"{base}/{prefix}" if prefix is not None else f"{base}/{IPv4Address(self.mask)}"


def parse_pattern(text: str) -> AddressPattern:
    """Reads CIDR, address/netmask or one address, and drops host bits. Raises ValueError.

    A netmask is read as a bit pattern, so 0.0.0.255 is not a host mask.
    """
    base, mask = _base_and_mask(text)
    bits = base.max_prefixlen
    if base.version == 6 and _prefix_length(mask, bits) is None:
        raise ValueError("an IPv6 netmask must be a prefix")
    pattern = AddressPattern(base.version, int(base) & mask, mask)
    mapped = _mapped_prefix(base, mask)
    if mapped is None:
        return pattern
    ipv4_mask = _prefix_mask(mapped, 32)
    return AddressPattern(4, pattern.value & 0xFFFFFFFF & ipv4_mask, ipv4_mask)


def parse_network(text: str) -> IPNetwork:
    """Reads a trusted or local network: CIDR, address/netmask or one address, contiguous and without host bits.

    An IPv4-mapped range becomes IPv4. Raises ValueError, whose text names the right network where there is one.
    """
    base, mask = _base_and_mask(text)
    prefix = _prefix_length(mask, base.max_prefixlen)
    if prefix is None:
        raise ValueError("the netmask is not contiguous")
    start = int(base) & mask
    mapped = _mapped_prefix(base, mask)
    network: IPNetwork
    if mapped is not None:
        network = IPv4Network((start & 0xFFFFFFFF, mapped))
    elif isinstance(base, IPv4Address):
        network = IPv4Network((start, prefix))
    else:
        network = IPv6Network((start, prefix))
    if start != int(base):
        raise ValueError(f"host bits are set; the network is {network}")
    return network


def _base_and_mask(text: str) -> tuple[IPAddress, int]:
    address, slash, suffix = text.partition("/")
    base: IPAddress
    try:
        base = IPv6Address(address) if ":" in address else IPv4Address(address)
    except ValueError:
        raise ValueError("not an IP address or network") from None
    if isinstance(base, IPv6Address) and base.scope_id:
        raise ValueError("a network has no zone id")
    bits = base.max_prefixlen
    if not slash:
        return base, _prefix_mask(bits, bits)
    if _PREFIX(suffix):
        if int(suffix) > bits:
            raise ValueError(f"the prefix is longer than {bits}")
        return base, _prefix_mask(int(suffix), bits)
    try:
        return base, int(IPv4Address(suffix) if base.version == 4 else IPv6Address(suffix))
    except ValueError:
        raise ValueError("neither a prefix length nor a netmask after the slash") from None


def _prefix_mask(prefix: int, bits: int) -> int:
    return ((1 << prefix) - 1) << (bits - prefix)


def _prefix_length(mask: int, bits: int) -> int | None:
    ones = mask.bit_count()
    return ones if mask == _prefix_mask(ones, bits) else None


def _mapped_prefix(base: IPAddress, mask: int) -> int | None:
    """Returns the IPv4 prefix length of a range inside ::ffff:0:0/96, or None for every other range."""
    prefix = _prefix_length(mask, base.max_prefixlen)
    if base.version == 4 or prefix is None or prefix < _MAPPED.prefixlen or base not in _MAPPED:
        return None
    return prefix - _MAPPED.prefixlen
