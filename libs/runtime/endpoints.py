"""The addresses of the replicas in a setting. Names are looked up again, because their addresses may change."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import structlog

from libs.runtime.addresses import TcpAddress, UnixSocket, parse

log = structlog.get_logger(__name__)

_LOOKUP_SECONDS = 5.0


class Endpoints:
    """The addresses of the replicas behind `targets` (unix:PATH or host:port), with every address of every name."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._fixed: list[str] = []
        # The replicas that the last successful look-up of each name found.
        self._named: dict[TcpAddress, list[str]] = {}
        for target in targets:
            address = parse(target)
            if isinstance(address, UnixSocket) or _is_ip(address.host):
                self._fixed.append(str(address))
            else:
                self._named[address] = []

    @property
    def named(self) -> bool:
        """Whether some targets are names, whose addresses may change."""
        return bool(self._named)

    async def look_up(self) -> tuple[str, ...]:
        """Returns the present replicas, each once. A name whose look-up fails or takes too long keeps its last
        addresses, because an outage of the name server is not an outage of the replicas.
        """
        await asyncio.gather(*map(self._look_up_name, self._named))
        return tuple(dict.fromkeys(itertools.chain(self._fixed, *self._named.values())))

    async def _look_up_name(self, named: TcpAddress) -> None:
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                hosts = await addresses(named.host)
        except (OSError, TimeoutError, UnicodeError) as error:
            if not self._named[named]:
                log.warning("target_not_found", target=str(named), reason=type(error).__name__)
            return
        self._named[named] = [str(TcpAddress(host, named.port)) for host in hosts]


async def addresses(host: str) -> list[str]:
    """Returns the addresses of a name from the system's resolver. Raises OSError, or UnicodeError for a name that
    cannot exist.
    """
    infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in infos]


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
