"""The order in which the addresses of a host are tried."""

from __future__ import annotations

import random
from collections.abc import Sequence

from services.relay.delivery.targets.own_addresses import Address


class AddressFamilyCache:
    """Remembers which address family worked last for each host, because each try of a family that does not work costs a
    time-out. The number of hosts is bounded.
    """

    _LIMIT = 10_000

    def __init__(self) -> None:
        self._good: dict[str, int] = {}

    def remember(self, host: str, address: str) -> None:
        if len(self._good) >= self._LIMIT:
            self._good.clear()
        self._good[host] = 6 if ":" in address else 4

    def ordered(self, host: str, addresses: Sequence[Address], rng: random.Random) -> list[Address]:
        """Returns the addresses of the two families in turn, beginning with the family that worked, so that two tries
        reach both families.
        """
        shuffled = list(addresses)
        rng.shuffle(shuffled)
        first = self._good.get(host, 6)
        one = [address for address in shuffled if address.version == first]
        other = [address for address in shuffled if address.version != first]
        mixed: list[Address] = []
        for index in range(max(len(one), len(other))):
            mixed += one[index : index + 1] + other[index : index + 1]
        return mixed
