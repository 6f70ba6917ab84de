"""The interface of a store of counters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.policy.rules.counting import Operation


@dataclass(frozen=True, slots=True)
class Blocked:
    """A blocked client. Times are in seconds since the epoch."""

    client: str
    reason: str
    count: int
    blocked_at: float
    ends_at: float


UNKNOWN_RECIPIENTS = "unknown_recipients"


# The sessions of a worker count for this time after its last frame.
WORKER_SECONDS = 10


class FrameStamp(NamedTuple):
    """The origin of a change of sessions: the worker of ingress, and the number of its frame. A later frame overrides
    an earlier frame.
    """

    worker: str
    counter: int


# The stamp of a decision that no worker asked for. Its session is counted, and removed at once.
NO_WORKER = FrameStamp("", 0)


class Store(Protocol):
    """The counters of all clients. A number is None when it is not available, and then the rule that reads it is
    skipped.
    """

    def apply_now(self, operations: Sequence[Operation], stamp: FrameStamp, now: float, /) -> list[int | None] | None:
        """Executes the operations in order. Returns None when a wait is needed; then nothing was executed, and the
        caller must await `apply`.
        """

    async def apply(self, operations: Sequence[Operation], stamp: FrameStamp, now: float) -> list[int | None]:
        """Executes the operations in order, and waits for their answers. Never raises."""

    def close_sessions(self, sessions: Sequence[tuple[str, str]], stamp: FrameStamp, *, remember: bool = False) -> None:
        """Stops counting these (client, session) pairs, perhaps a moment later. With `remember`, an older set of open
        sessions that arrives later must not add these sessions again.
        """

    def replace_sessions(self, sessions: Sequence[tuple[str, str]], stamp: FrameStamp, settled_before: int) -> None:
        """Counts exactly these (client, session) pairs of a worker, and the sessions that opened since the frame
        `settled_before`, perhaps a moment later. If a newer set of the worker exists, this call does nothing.
        """

    async def keep_alive(self, workers: Sequence[str]) -> Collection[str]:
        """Counts the sessions of these workers for another `WORKER_SECONDS`. Returns the workers whose open sessions
        are not all known, so that they must be asked. Never raises.
        """

    async def peek(self, operations: Sequence[Operation], now: float, /) -> list[int | None]:
        """Returns the answers that `apply` would give, without counting anything."""

    async def blocked_clients(self, now: float, *, after: str, limit: int) -> list[Blocked]:
        """Returns at most `limit` blocked clients that sort after `after`, in order. Raises StoreUnavailableError."""

    async def unblock(self, client: str, now: float) -> Blocked | None:
        """Lifts a block, and resets the counters that led to it. Returns None when there is no block. Raises
        StoreUnavailableError.
        """

    @property
    def unavailable_reason(self) -> str:
        """Returns why nothing can be counted now, in our words. The result is empty when counting works."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class StoreUnavailableError(Exception):
    """The store does not answer."""
