"""The type of settings that are IP networks, in canonical CIDR notation."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

from libs.smtp.network import parse_network
from services.config_api.resources.fields import checked

# The shortest prefix length, by IP version, of a network that probably belongs to one organisation.
WIDEST = {4: 8, 6: 32}


def covers(network: str, address: str) -> bool:
    """Whether a network in canonical form contains an address."""
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


Cidr = Annotated[
    str,
    Field(
        min_length=2,
        max_length=90,
        pattern=r"^[0-9A-Fa-f:./]+$",
        examples=["192.0.2.0/24", "2001:db8::/32", "198.51.100.0/255.255.255.0"],
        description="CIDR, or address/netmask with a contiguous mask, for IPv4 or IPv6, without host bits. It is "
        "stored as CIDR.",
    ),
    AfterValidator(checked("network", lambda text: str(parse_network(text)))),
]
