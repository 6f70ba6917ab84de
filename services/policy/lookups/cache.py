"""A bounded cache in which names that are asked for only once do not displace names that are asked for repeatedly."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class TwoStageCache(Generic[Key, Value]):
    """New entries share a fifth of the space. An entry that is used again moves to the other part, where new entries
    cannot displace it.
    """

    __slots__ = ("_new", "_room_again", "_room_new", "met_again")

    def __init__(self, room: int) -> None:
        self._room_new = room // 5
        self._room_again = room - self._room_new
        self._new: OrderedDict[Key, Value] = OrderedDict()
        # The entries that were used again. A caller for which a call of `get` would be too slow looks in this dict
        # first.
        self.met_again: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._new) + len(self.met_again)

    def get(self, key: Key) -> Value | None:
        value = self.met_again.get(key)
        if value is None:
            value = self._new.pop(key, None)
            if value is not None:
                self.met_again[key] = value
                if len(self.met_again) > self._room_again:
                    self.met_again.popitem(last=False)
        return value

    def put(self, key: Key, value: Value) -> None:
        if key in self.met_again:
            self.met_again[key] = value
            self.met_again.move_to_end(key)
            return
        self._new[key] = value
        if len(self._new) > self._room_new:
            self._new.popitem(last=False)
