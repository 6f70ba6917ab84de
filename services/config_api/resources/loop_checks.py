"""A relay host that is this gateway itself would send every message round in a circle (C158)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from services.config_api.problems import invalid_field
from services.config_api.resources.description import Body, Finding, Secret, Surroundings, member

_SMTP_PORTS = frozenset({25, 465, 587})


def relay_host_password() -> Secret:
    """The login's password: sealed, and kept only for the server and login that it was given for."""
    return Secret(
        path=("relay_host", "auth", "password"),
        required=True,
        bound_to=(("relay_host", "host"), ("relay_host", "port"), ("relay_host", "auth", "username")),
    )


async def refuse_loop(body: Body, surroundings: Surroundings) -> Sequence[Finding]:
    """Raises Problem 422 when the relay host is a listener of this gateway."""
    host, port = member(body, ("relay_host", "host")), member(body, ("relay_host", "port"))
    if host is not None and await is_this_gateway(host, port, surroundings):
        raise invalid_field("/relay_host/host", "loop", "The relay host is this gateway: mail would go in a circle.")
    return ()


async def is_this_gateway(host: str, port: int, surroundings: Surroundings) -> bool:
    """Whether mail that is sent there comes in here again."""
    hostname = member(await surroundings.settings("settings/general"), ("profile", "hostname"))
    is_own_name = host == hostname and port in own_name_ports(surroundings)
    return is_own_name or (port in surroundings.own_ports and await _is_here(host, surroundings))


def own_name_ports(surroundings: Surroundings) -> frozenset[int]:
    """At the gateway's own name these ports are its listeners, or forwarded to them."""
    return _SMTP_PORTS | surroundings.own_ports


async def _is_here(host: str, surroundings: Surroundings) -> bool:
    found = await surroundings.addresses(host)
    here = host == "localhost" or host in surroundings.own_addresses
    return here or any(
        address in surroundings.own_addresses or ipaddress.ip_address(address).is_loopback for address in found or ()
    )
