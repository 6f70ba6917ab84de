"""From the targets of a setting to the addresses of replicas, looked up again as names change."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

import structlog

log = structlog.get_logger(__name__)

_LOOKUP_SECONDS = 5.0


class Endpoint(NamedTuple):
    """One replica: where it is called, and the name that its certificate must be for."""

    address: str
    name: str


class Endpoints:
    """The replicas that `targets` (host:port, an IPv6 address in brackets) stand for: every address of every name."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._fixed: list[Endpoint] = []
        # What each name had when it last had any.
        self._found: dict[tuple[str, str], list[Endpoint]] = {}
        for target in targets:
            host, _, port = target.rpartition(":")
            bare = host.strip("[]")
            if _is_address(bare):
                self._fixed.append(Endpoint(_address(bare, port), bare))
            else:
                self._found[host, port] = []

    @property
    def named(self) -> bool:
        """Whether there are names among the targets, which may come to mean other replicas."""
        return bool(self._found)

    async def look(self) -> tuple[Endpoint, ...]:
        """As they are now, each once. A name that the name server does not know now, or not in time, keeps what it
        had: its outage is not the replicas'.
        """
        await asyncio.gather(*(self._look_up(host, port) for host, port in self._found))
        every = [*self._fixed, *(each for found in self._found.values() for each in found)]
        return tuple(dict.fromkeys(every))

    async def _look_up(self, host: str, port: str) -> None:
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                found = await addresses(host)
        except (OSError, TimeoutError, UnicodeError) as error:
            if not self._found[host, port]:
                log.warning("target_not_found", target=f"{host}:{port}", reason=type(error).__name__)
            return
        self._found[host, port] = [Endpoint(_address(each, port), host) for each in found]


async def addresses(host: str) -> list[str]:
    """What the system's resolver has for a name. Raises OSError, and UnicodeError for what can be no name."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in answers]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _address(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
