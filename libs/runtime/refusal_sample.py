"""Chooses the refusals that get a line in the log when there are too many of them, and counts the others. This module
is pure.
"""

from __future__ import annotations

from dataclasses import dataclass

# The largest numbers of lines in a minute for the network of one client, and for all clients together. All these lines
# together have at most some 300 MB in a day.
LINES_OF_CLIENT = 60
LINES_IN_ALL = 600
# The largest number of networks whose refusals are counted separately in a minute. Refusals of further networks are
# counted only in the sum.
_MOST_CLIENTS = 10_000


@dataclass(frozen=True, slots=True)
class Unlogged:
    """The number of refusals without a line in one minute of the clock, and the network with the most such refusals."""

    refusals: int
    networks: int
    largest: str
    refusals_of_largest: int


class RefusalSample:
    """Counts refusals by minutes of the clock. Of the refusals beyond the limits, the 1st, 2nd, 4th, 8th … of the
    minute get a line.
    """

    def __init__(self) -> None:
        self._minute = 0
        self._lines: dict[str, int] = {}
        self._lines_in_all = 0
        self._unlogged: dict[str, int] = {}
        self._unlogged_in_all = 0

    def turn(self, now: float) -> Unlogged | None:
        """Call this with each new time. At the end of a minute with refusals without a line, it returns their numbers.
        Otherwise it returns None.
        """
        minute = int(now) // 60
        if minute == self._minute:
            return None
        ended = self._ended() if self._unlogged_in_all else None
        self._minute = minute
        self._lines, self._lines_in_all = {}, 0
        self._unlogged, self._unlogged_in_all = {}, 0
        return ended

    def has_line(self, network: str) -> bool:
        """Whether this refusal gets a line. Otherwise it is counted."""
        lines = self._lines.get(network, 0)
        is_told_apart = lines > 0 or len(self._lines) < _MOST_CLIENTS
        if lines < LINES_OF_CLIENT and self._lines_in_all < LINES_IN_ALL and is_told_apart:
            self._lines[network] = lines + 1
            self._lines_in_all += 1
            return True
        self._unlogged_in_all += 1
        if self._unlogged_in_all.bit_count() == 1:
            return True
        if network in self._unlogged or len(self._unlogged) < _MOST_CLIENTS:
            self._unlogged[network] = self._unlogged.get(network, 0) + 1
        return False

    def _ended(self) -> Unlogged | None:
        if not self._unlogged:
            return None
        largest = max(self._unlogged, key=self._unlogged.__getitem__)
        # Refusals beyond the limits that got a line are not counted.
        written = self._unlogged_in_all.bit_length()
        return Unlogged(self._unlogged_in_all - written, len(self._unlogged), largest, self._unlogged[largest])
