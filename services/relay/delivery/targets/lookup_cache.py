"""A bounded cache that cannot be emptied by names that are asked for once: a segmented LRU cache.

A new entry is on probation. An entry that is asked for again moves to a protected segment, where only other such
entries can displace it. So mail to random names of a zone does not displace the entries of hosts that get mail every
day.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

# One entry in this many is on probation.
_PROBATION_PART = 4


class SegmentedCache(Generic[Key, Value]):
    def __init__(self, entries: int) -> None:
        self._probation: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._proven: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._most_on_probation = entries // _PROBATION_PART
        self._most_proven = entries - self._most_on_probation

    def __len__(self) -> int:
        return len(self._probation) + len(self._proven)

    def get(self, key: Key, now: float) -> Value | None:
        """Returns the value of a key, or None when there is none, or when it has expired."""
        entry = self._proven.get(key)
        if entry is not None:
            if entry[0] > now:
                self._proven.move_to_end(key)
                return entry[1]
            # The key stays in the protected segment, for the next value.
            return None
        entry = self._probation.pop(key, None)
        if entry is None or entry[0] <= now:
            return None
        self._proven[key] = entry
        if len(self._proven) > self._most_proven:
            self._put_on_probation(*self._proven.popitem(last=False))
        return entry[1]

    def put(self, key: Key, until: float, kept: Value) -> None:
        """Stores a value until a time."""
        if key in self._proven:
            self._proven[key] = until, kept
            self._proven.move_to_end(key)
        else:
            self._put_on_probation(key, (until, kept))

    def _put_on_probation(self, key: Key, entry: tuple[float, Value]) -> None:
        self._probation[key] = entry
        self._probation.move_to_end(key)
        if len(self._probation) > self._most_on_probation:
            self._probation.popitem(last=False)
