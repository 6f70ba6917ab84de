"""Refusals that wait to be sent to relay. Their number is bounded, and many refusals of one client do not displace
those of others.
"""

from __future__ import annotations

from collections import deque

from libs.smtp.network import sharing_network
from services.ingress.submission import Refusal


class Refusals:
    """A queue with at most `most` refusals. The networks of clients take turns, and the refusals of one network keep
    their order.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._by_network: dict[str, deque[Refusal]] = {}

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, refusal: Refusal) -> bool:
        """Adds a refusal. Returns False when a refusal was dropped: this one, or the newest refusal of the network with
        the most refusals.
        """
        network = sharing_network(refusal.client_address)
        waiting = self._by_network.get(network)
        full = self._count >= self._most
        if full:
            greediest = max(self._by_network, key=lambda each: len(self._by_network[each]))
            if len(self._by_network[greediest]) <= (len(waiting) if waiting else 0) + 1:
                return False
            self._by_network[greediest].pop()
            self._count -= 1
        if waiting is None:
            waiting = self._by_network[network] = deque()
        waiting.append(refusal)
        self._count += 1
        return not full

    def take(self) -> Refusal:
        """Returns the next refusal. Raises StopIteration when there is none."""
        network = next(iter(self._by_network))
        waiting = self._by_network.pop(network)
        refusal = waiting.popleft()
        self._count -= 1
        if waiting:
            # The other networks get their turns before the next refusal of this network.
            self._by_network[network] = waiting
        return refusal
