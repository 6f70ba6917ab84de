"""One replica of whichever service, as a worker of ingress sees it: whether it is given work, and when it spoke."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.ingress.clients.stream import FrameStream


class Replica:
    """The state of one replica and the stream to it. `changed` is called when it came or said otherwise of itself."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.stream: FrameStream
        self.connected = False
        # It says that it can work.
        self.willing = False
        # Among those that are given work.
        self.usable = False
        # It did work, or was a target, and is not to get any more.
        self.draining = False
        # We have said our last on this stream.
        self.ending = False
        self.heard_at = 0.0

    def doubt(self, since: float) -> None:
        """What left at `since` has no answer yet."""
        if self.connected and self.heard_at < since:
            self.stream.probe()

    def finish_when(self, idle: bool) -> None:
        """Says our last to a replica that drains, once it is `idle` and others are given its work."""
        if idle and self.draining and not (self.ending or self.usable):
            self.ending = True
            self.stream.finish()

    # What FrameStream calls.

    def serving(self, yes: bool) -> None:
        self.willing = yes
        self.draining = self.connected and not yes
        self._changed()

    def opened(self) -> None:
        self.connected = True
        self.draining = self.ending = False
        self.heard_at = time.monotonic()
        self._changed()

    def heard(self) -> None:
        self.heard_at = time.monotonic()

    def gone(self) -> None:
        self.connected = self.draining = self.ending = False


R = TypeVar("R", bound=Replica)


def kept(replicas: Sequence[R]) -> list[R]:
    """Without those that are no target any more and have gone."""
    return [each for each in replicas if each.connected or not each.stream.retired]


def usable(replicas: Sequence[R]) -> list[R]:
    """Those to give work to. One that is told to stop, or has no configuration, only while there is no other."""
    connected = [each for each in replicas if each.connected and not each.ending]
    return [each for each in connected if each.willing] or connected
