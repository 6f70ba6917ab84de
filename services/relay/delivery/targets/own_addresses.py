"""The addresses at which this gateway accepts mail. A wildcard address stands for all addresses of the machine."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import psutil

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The addresses of the interfaces are read again after this time, because interfaces may change while the process runs.
_INTERFACES_SECONDS = 10.0


class OwnAddresses:
    """Pairs of address and port; port 0 stands for every port.

    A listener at 0.0.0.0 or :: is reached at every address of the machine. Since these may change, they are read again
    after ten seconds.
    """

    def __init__(
        self,
        pairs: Iterable[tuple[Address, int]] = (),
        machine_addresses: Callable[[], frozenset[Address]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pairs = frozenset(pairs)
        self._wildcards = frozenset((address.version, port) for address, port in self._pairs if address.is_unspecified)
        self._read = machine_addresses or interface_addresses
        self._clock = clock
        self._machine: frozenset[Address] = frozenset()
        self._read_at: float | None = None

    @property
    def pairs(self) -> frozenset[tuple[Address, int]]:
        return self._pairs

    def contain(self, address: Address, port: int) -> bool:
        """Returns whether a connection to this address and port would end at this gateway."""
        if (address, port) in self._pairs or (address, 0) in self._pairs:
            return True
        version = address.version
        if (version, port) not in self._wildcards and (version, 0) not in self._wildcards:
            return False
        return address.is_loopback or address.is_unspecified or address in self._machine_addresses()

    def _machine_addresses(self) -> frozenset[Address]:
        now = self._clock()
        if self._read_at is None or now - self._read_at >= _INTERFACES_SECONDS:
            self._machine = self._read()
            self._read_at = now
        return self._machine


def interface_addresses() -> frozenset[Address]:
    """Returns every address of every interface of this machine."""
    return frozenset(
        canonical(entry.address.partition("%")[0])
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6)
    )


def canonical(text: str) -> Address:
    """Reads an address. An IPv4 address that is mapped to IPv6 becomes IPv4. Raises ValueError."""
    address = ip_address(text)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
