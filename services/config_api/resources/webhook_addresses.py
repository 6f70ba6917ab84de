"""The addresses to which webhooks may be sent: public ones, and networks that the operator of the machine lists.

A webhook must not give its author access to hosts that only this machine can reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from libs.smtp.address import is_host_name
from libs.smtp.network import IPAddress, IPNetwork

# The networks of NAT64 (RFC 6052) and 6to4 (RFC 3056), whose addresses contain an IPv4 address, each with the number of
# bits after the IPv4 address.
_WITH_IPV4 = ((IPv6Network("64:ff9b::/96"), 0), (IPv6Network("2002::/16"), 80))
# Networks that never count as public, so they are allowed only if the operator lists them. In local NAT64 (RFC 8215)
# the position of the IPv4 address is unknown, and Teredo (RFC 4380) hides the address. No webhook needs these networks.
_NEVER = (IPv6Network("64:ff9b:1::/48"), IPv6Network("2001::/32"))
_LONGEST_URL = 2_000


def canonical(address: IPAddress) -> IPAddress:
    """Returns the IPv4 address for an IPv6 address to which one is mapped. Any other address is returned unchanged."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def is_allowed(address: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    """Whether a webhook may be sent to this address."""
    address = canonical(address)
    return is_listed(address, networks) or _is_public(address)


def is_listed(address: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    """Whether the operator has listed the address, so that it may be private, and may be used without TLS."""
    address = canonical(address)
    return any(address.version == network.version and address in network for network in networks)


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv6Address):
        for network, following in _WITH_IPV4:
            if address in network:
                return _is_public(IPv4Address(int(address) >> following & 0xFFFFFFFF))
        if address.is_site_local or any(address in network for network in _NEVER):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def parse_url(text: str) -> SplitResult:
    """Returns the parts of an http or https URL. The host must be a full name, or an address in its usual notation.
    Raises ValueError with our own text.
    """
    if len(text) > _LONGEST_URL or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"must be an ASCII URL of at most {_LONGEST_URL} characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must begin with https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a login or password, because the signature proves the sender")
    if parts.fragment or port == 0 or "\\" in text:
        raise ValueError("has a part that a request cannot have")
    literal = literal_of(parts)
    host = parts.hostname
    if literal is None and (not is_host_name(host) or _is_number(host.rsplit(".", 1)[-1])):
        # Some resolvers read such names as IPv4 addresses, so they are refused: 2130706433, 0x7f.1, 127.1, 0177.0.0.1.
        raise ValueError("the host must be a full name or an address in its usual notation")
    return parts


def literal_of(parts: SplitResult) -> IPAddress | None:
    """Returns the IP address if the host is an address, or None if it is a name."""
    host = parts.hostname or ""
    if "%" in host:
        return None
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_number(label: str) -> bool:
    """Whether a name that ends in this label is read as an IPv4 address
    (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    return label.isdigit() or label.lower().startswith("0x")
