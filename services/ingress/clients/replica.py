"""The state of one replica of a service, as a worker of ingress knows it, and the choice of the replicas to use."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.ingress.clients.stream import FrameStream


class Replica:
    """The state of one replica and the stream to it. `changed` is called when the replica connects or its health
    changes.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.stream: FrameStream
        self.connected = False
        # Whether its health service reports SERVING.
        self.healthy = False
        # Whether the replica gets new work.
        self.usable = False
        # Whether the replica has stopped serving, or is no longer a target, since it connected. It gets new work only
        # while there is no other replica.
        self.draining = False
        # Whether we have closed our side of the stream.
        self.ending = False
        self.heard_at = 0.0

    def probe_if_silent(self, since: float) -> None:
        """Probes the replica if it has sent nothing since `since`, the time of a request that is still unanswered."""
        if self.connected and self.heard_at < since:
            self.stream.probe()

    def finish_when(self, idle: bool) -> None:
        """Closes our side of the stream to a replica that gets no new work, when it is `idle` and others are ready."""
        if idle and self.draining and not (self.ending or self.usable):
            self.ending = True
            self.stream.finish()

    # The methods below are called by FrameStream.

    def serving(self, yes: bool) -> None:
        self.healthy = yes
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


def without_retired(replicas: Sequence[R]) -> list[R]:
    """Returns all replicas except those that are disconnected and no longer targets."""
    return [replica for replica in replicas if replica.connected or not replica.stream.retired]


def usable_replicas(replicas: Sequence[R]) -> list[R]:
    """Returns the replicas that get work. A replica that is stopping or has no configuration is used only when there is
    no other.
    """
    connected = [replica for replica in replicas if replica.connected and not replica.ending]
    return [each for each in connected if each.healthy] or connected


def weight(target: str, subject: bytes) -> bytes:
    """Returns the weight of a replica for a subject (rendezvous hashing). The replica with the largest weight is used,
    so when a replica is lost, only its subjects move to others.
    """
    return hashlib.blake2b(target.encode() + b" " + subject, digest_size=8).digest()
