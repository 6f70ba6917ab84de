"""The replicas that the targets of a setting stand for; names are looked up again, since they may change."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

import structlog

log = structlog.get_logger(__name__)

_LOOKUP_SECONDS = 5.0


class Endpoint(NamedTuple):
    """One replica: its address as `host:port`, and the name that its certificate must be for."""

    address: str
    name: str


class Endpoints:
    """The replicas that `targets` (host:port, an IPv6 address in brackets) stand for: every address of every name."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._fixed: list[Endpoint] = []
        # The replicas of each (host, port) at the last look-up that brought any.
        self._named: dict[tuple[str, str], list[Endpoint]] = {}
        for target in targets:
            host, _, port = target.rpartition(":")
            bare = host.strip("[]")
            if _is_address(bare):
                self._fixed.append(Endpoint(_address(bare, port), bare))
            else:
                self._named[host, port] = []

    @property
    def named(self) -> bool:
        """Whether some targets are names, whose addresses may change."""
        return bool(self._named)

    async def look_up(self) -> tuple[Endpoint, ...]:
        """The replicas as they are now, each once.

        A name that gets no answer, or none in time, keeps its last addresses: an outage of the name server is no
        outage of the replicas.
        """
        await asyncio.gather(*(self._look_up_name(host, port) for host, port in self._named))
        return tuple(dict.fromkeys(itertools.chain(self._fixed, *self._named.values())))

    async def _look_up_name(self, host: str, port: str) -> None:
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                host_addresses = await addresses(host)
        except (OSError, TimeoutError, UnicodeError) as error:
            if not self._named[host, port]:
                log.warning("target_not_found", target=f"{host}:{port}", reason=type(error).__name__)
            return
        self._named[host, port] = [Endpoint(_address(address, port), host) for address in host_addresses]


async def addresses(host: str) -> list[str]:
    """The addresses that the system's resolver has for a name.

    Raises OSError, or UnicodeError for a name that cannot exist.
    """
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
