"""The zones whose name servers do not answer, and the limit of questions about them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

# The time for which a silent zone is remembered.
REMEMBERED_SECONDS = 30.0
_REMEMBERED = 10_000


class SilentZones:
    """The zones whose name servers do not answer in time. It is unknown which part of a name is a zone, so each domain
    above the name is treated as a zone. A zone counts as silent when several different names directly below it had no
    answer. This ends when a question about a name below the zone is answered, or 30 s after the last question without
    an answer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # For each zone: the labels directly below it that had no answer, and the time at which this is forgotten.
        self._zones: OrderedDict[str, tuple[set[str], float]] = OrderedDict()
        self._under_way: dict[str, int] = {}

    def zone_of(self, name: str) -> str:
        """Returns the widest silent zone that contains the name. The result is empty when there is none."""
        if self._zones:
            now = self._clock()
            for zone, _ in _zones(name):
                labels, until = self._zones.get(zone, (_NONE, 0.0))
                if len(labels) >= _SILENT_NAMES and until > now:
                    return zone
        return ""

    def enter(self, zone: str) -> bool:
        """Whether one more question about a silent zone may be asked. If the result is True, `leave` must be called
        when the question has ended.
        """
        count = self._under_way.get(zone, 0)
        if count >= _PLACES_OF_SILENT_ZONE:
            return False
        self._under_way[zone] = count + 1
        return True

    def leave(self, zone: str) -> None:
        count = self._under_way[zone] - 1
        if count:
            self._under_way[zone] = count
        else:
            del self._under_way[zone]

    def took_too_long(self, name: str) -> None:
        until = self._clock() + REMEMBERED_SECONDS
        for zone, label in _zones(name):
            labels, _ = self._zones.get(zone, (set[str](), 0.0))
            if len(labels) < _SILENT_NAMES:
                labels.add(label)
            self._zones[zone] = (labels, until)
            self._zones.move_to_end(zone)
            if len(self._zones) > _REMEMBERED:
                self._zones.popitem(last=False)

    def answered(self, name: str) -> None:
        if self._zones:
            for zone, _ in _zones(name):
                self._zones.pop(zone, None)


# The number of different names below a zone that must time out. One failing domain under a common suffix must not make
# the whole suffix silent.
_SILENT_NAMES = 3
# The number of running questions about a silent zone. It is enough to notice when the zone answers again.
_PLACES_OF_SILENT_ZONE = 2
# The largest number of domains above a name that are checked, the widest first.
_MOST_ZONES = 10
_NONE: set[str] = set()


def _zones(name: str) -> Iterator[tuple[str, str]]:
    """Yields each domain above the name, the widest first, with the label of the name directly below it."""
    labels = name.split(".")
    # A zone with one label never counts as silent, and neither does a zone with two labels in the reverse tree.
    first = len(labels) - (3 if labels[-1] == "arpa" else 2)
    for start in range(first, max(first - _MOST_ZONES, 0), -1):
        yield ".".join(labels[start:]), labels[start - 1]
