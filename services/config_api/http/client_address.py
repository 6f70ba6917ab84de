"""Finds the address of a client behind trusted reverse proxies (C82)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from services.config_api.resources.fields import ip_address
from services.config_api.settings import Network

_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?")
_WITH_PORT = re.compile(r"([0-9.]+):\d{1,5}")


def client_address(peer: str, forwarded_for: Sequence[str], proxies: Sequence[Network]) -> str:
    """Returns the right-most hop that is not a trusted proxy: `peer`, or an address in X-Forwarded-For. If all hops are
    trusted proxies, returns the left-most one. Returns "unknown" when `peer` is not an address. `forwarded_for` has the
    values of these fields in order.

    Addresses further left are ignored, because the client itself may have written them. If a hop is not an address, the
    trusted proxy that reported this hop is returned.
    """
    current = _address(peer) or "unknown"
    hops = [hop.strip() for field in forwarded_for for hop in field.split(",")]
    while hops and _trusted(current, proxies):
        hop = _address(hops.pop())
        if hop is None:
            break
        current = hop
    return current


def _trusted(address: str, proxies: Sequence[Network]) -> bool:
    return address != "unknown" and any(ipaddress.ip_address(address) in network for network in proxies)


def _address(text: str) -> str | None:
    bracketed_or_with_port = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
    try:
        return ip_address(bracketed_or_with_port[1] if bracketed_or_with_port else text.partition("%")[0])
    except ValueError:
        return None
