"""A relay host that is this gateway itself would send every message round in a circle (C158)."""

from __future__ import annotations

from collections.abc import Sequence

from services.config_api.problems import invalid_field
from services.config_api.resources import Body, Finding, Secret, Surroundings, member

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
    if host is None:
        return ()
    hostname = member(await surroundings.settings("settings/general"), ("profile", "hostname"))
    is_own_name = host == hostname and port in _SMTP_PORTS | surroundings.own_ports
    if is_own_name or (port in surroundings.own_ports and await _is_here(host, surroundings)):
        raise invalid_field("/relay_host/host", "loop", "The relay host is this gateway: mail would go in a circle.")
    return ()


async def _is_here(host: str, surroundings: Surroundings) -> bool:
    if host == "localhost" or host in surroundings.own_addresses:
        return True
    found = await surroundings.addresses(host)
    return found is not None and not surroundings.own_addresses.isdisjoint(found)
