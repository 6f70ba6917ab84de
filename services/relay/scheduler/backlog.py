"""What is in memory: lanes of jobs, one lane a destination, and how much of it there is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from libs.smtp.value import value
from services.relay.metrics import BACKLOG, BACKLOG_BYTES
from services.relay.model.message import QueuedDelivery, QueuedMessage


@value(frozen=True, slots=True)
class Job:
    """One message and those of its deliveries that go the same way; leased by this process."""

    message: QueuedMessage
    deliveries: tuple[QueuedDelivery, ...]

    @property
    def octets(self) -> int:
        return len(self.message.content or b"")


@dataclass(slots=True)
class Lane:
    """The jobs for one destination, first come first served."""

    destination: str
    jobs: deque[Job] = field(default_factory=deque)
    running: int = 0
    # In the queue of lanes that wait for a slot.
    hungry: bool = False
    # More waits in the database, and is to be claimed when this comes to an end.
    more: bool = False

    @property
    def full(self) -> bool:
        """It has enough for now: what is claimed in few steps costs less."""
        return self.more and len(self.jobs) > self.running


class Room:
    """Deliveries and octets in memory, against their limits."""

    def __init__(self, deliveries: int, octets: int) -> None:
        self._most_deliveries = deliveries
        self._most_octets = octets
        self.deliveries = 0
        self.octets = 0
        BACKLOG.set_function(lambda: self.deliveries)
        BACKLOG_BYTES.set_function(lambda: self.octets)

    @property
    def left(self) -> int:
        """Deliveries that may still come in."""
        return self._most_deliveries - self.deliveries if self.octets < self._most_octets else 0

    @property
    def plenty(self) -> bool:
        """Half of it is free."""
        return self.deliveries * 2 < self._most_deliveries and self.octets * 2 < self._most_octets

    def fits(self, deliveries: int, octets: int) -> bool:
        return self.deliveries + deliveries <= self._most_deliveries and self.octets + octets <= self._most_octets

    def add(self, deliveries: int, octets: int) -> None:
        self.deliveries += deliveries
        self.octets += octets

    def remove(self, deliveries: int, octets: int) -> None:
        self.add(-deliveries, -octets)
