"""Limits the transactions that run to a destination at once, and remembers hosts that did not answer. Callers pass the
time as an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_INITIAL = 5
# After this number of failures in a row a destination counts as dead.
_DEAD_AFTER = 5
_FIRST_PROBE_SECONDS = 5.0
_LONGEST_PROBE_SECONDS = 60.0
_CEILING_SECONDS = 60.0
_DESTINATION_LIMIT = 20_000
_HOST_LIMIT = 20_000
_FIRST_RETRY_SECONDS = 30.0
_LONGEST_RETRY_SECONDS = 300.0
# A silent host costs minutes at each try, so it is avoided for longer than a message waits for its next attempt.
_SILENT_SECONDS = 1800.0


@dataclass(slots=True)
class Concurrency:
    """The concurrency of one destination. Each success raises it by one, and each failure to reach a server halves it.

    A dead destination gets one transaction at a time, at growing intervals. The first one that reaches a server ends
    this.
    """

    limit: int = _INITIAL
    failures: int = 0
    running: int = 0
    next_probe: float = 0.0
    probe_seconds: float = _FIRST_PROBE_SECONDS
    # The number of transactions that have a session with a server of the destination.
    sessions: int = 0
    # The number of connections that the servers accept at once, as observed. 0 means that the number is not known, or
    # no longer valid.
    ceiling: int = 0
    ceiling_ends: float = 0.0

    @property
    def dead(self) -> bool:
        return self.failures >= _DEAD_AFTER

    def capacity(self, now: float, maximum: int) -> int:
        """Returns the number of transactions that may run at once. It is 0 only while a dead destination waits for its
        next try.
        """
        if self.dead:
            return 1 if self.running or now >= self.next_probe else 0
        if self.ceiling and now >= self.ceiling_ends:
            self.ceiling = 0
        return max(1, min(self.limit, maximum))

    def probe_in(self, now: float) -> float:
        """Returns the seconds until the destination is tried again, or 0 when it is not dead or is being tried."""
        return max(0.0, self.next_probe - now) if self.dead and not self.running else 0.0

    def succeeded(self, maximum: int) -> None:
        """Notes that a server took part in a transaction, whatever the result of the message was."""
        if self.dead:
            self.limit = _INITIAL
        self.failures = 0
        self.probe_seconds = _FIRST_PROBE_SECONDS
        self.limit = min(max(maximum, 1), self.limit + 1, self.ceiling or self.limit + 1)

    def turned_away(self, now: float) -> None:
        """Notes that a server refused one more connection while others are open, so it accepts no more at once (F47).

        The limit is valid for a while, and then one more connection is tried.
        """
        self.ceiling = max(1, self.sessions or self.limit // 2)
        self.ceiling_ends = now + _CEILING_SECONDS
        self.limit = min(self.limit, self.ceiling)

    def failed(self, now: float, longest_probe: float = _LONGEST_PROBE_SECONDS) -> None:
        """Notes that no server could be reached, or that all refused the session.

        `longest_probe` is the longest time in seconds between two tries.
        """
        was_dead = self.dead
        self.failures += 1
        self.limit = max(1, self.limit // 2)
        if self.dead:
            if was_dead:
                self.probe_seconds = min(_LONGEST_PROBE_SECONDS, self.probe_seconds * 2)
            self.next_probe = now + min(self.probe_seconds, longest_probe)


class ConcurrencyLimits:
    """The concurrency of every destination. The number of destinations is bounded: out of those without a running
    transaction, the one that was not used for the longest time is removed.
    """

    def __init__(self) -> None:
        self._limits: OrderedDict[str, Concurrency] = OrderedDict()

    def of(self, destination: str) -> Concurrency:
        concurrency = self._limits.get(destination)
        if concurrency is None:
            concurrency = self._limits[destination] = Concurrency()
            if len(self._limits) > _DESTINATION_LIMIT:
                self._forget()
        else:
            self._limits.move_to_end(destination)
        return concurrency

    def known(self, destination: str) -> Concurrency | None:
        """Returns the concurrency of a destination, or None when nothing was sent there lately."""
        return self._limits.get(destination)

    def _forget(self) -> None:
        for destination, concurrency in self._limits.items():
            if not concurrency.running:
                del self._limits[destination]
                return


@dataclass(slots=True)
class _Dead:
    next_try: float
    seconds: float
    trying: bool = False


class DeadHosts:
    """Remembers addresses that did not answer. They are tried last, except for one try in each interval.

    So a dead first MX makes only one transaction in each interval slow.
    """

    def __init__(self) -> None:
        self._dead: OrderedDict[tuple[str, int], _Dead] = OrderedDict()

    def failed(self, address: str, port: int, now: float, *, silent: bool = False) -> None:
        """Notes a failure. `silent` means that the host accepted the connection, and then sent no answer."""
        known = self._dead.get((address, port))
        if known is None:
            seconds = _SILENT_SECONDS if silent else _FIRST_RETRY_SECONDS
            self._dead[address, port] = _Dead(now + seconds, seconds)
            if len(self._dead) > _HOST_LIMIT:
                self._dead.popitem(last=False)
        elif known.trying or now >= known.next_try:
            known.seconds = _SILENT_SECONDS if silent else min(_LONGEST_RETRY_SECONDS, known.seconds * 2)
            known.next_try = now + known.seconds
            known.trying = False
        # Other failures change nothing: these attempts had begun before the host counted as dead, or tried it last.

    def answered(self, address: str, port: int) -> None:
        self._dead.pop((address, port), None)

    def avoid(self, address: str, port: int, now: float) -> bool:
        """Returns whether the address should be tried last now. A caller that gets False for a dead host must try it
        next.
        """
        known = self._dead.get((address, port))
        if known is None:
            return False
        if now < known.next_try:
            return True
        # The try may take long. Until it ends, other attempts avoid this host.
        known.trying = True
        known.next_try = now + known.seconds
        return False
