"""The interface of a store of counters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.policy.rules.counting import Operation


@dataclass(frozen=True, slots=True)
class Blocked:
    """A blocked client. Times in seconds since the epoch."""

    client: str
    reason: str
    count: int
    blocked_at: float
    ends_at: float


UNKNOWN_RECIPIENTS = "unknown_recipients"


# The sessions of a worker count for this time after its last frame.
WORKER_SECONDS = 10


class FrameStamp(NamedTuple):
    """The worker of ingress and the number of its frame that a change of sessions comes from.

    A later frame overrides an earlier one.
    """

    worker: str
    counter: int


# A decision that no worker asks for: its session is counted, and given back at once.
NO_WORKER = FrameStamp("", 0)


class Store(Protocol):
    """Counters of all clients. A number is None where it could not be had: the rule that reads it is then skipped."""

    def apply_now(self, operations: Sequence[Operation], stamp: FrameStamp, now: float, /) -> list[int | None] | None:
        """Does the operations in order; None when that takes waiting: then `apply` must be awaited."""

    async def apply(self, operations: Sequence[Operation], stamp: FrameStamp, now: float) -> list[int | None]:
        """As `apply_now`, with waiting. Never raises."""

    def close_sessions(self, sessions: Sequence[tuple[str, str]], stamp: FrameStamp, *, remember: bool = False) -> None:
        """Soon counts (client, session) no more. `remember`: nor shall an older set that is still to come."""

    def replace_sessions(self, sessions: Sequence[tuple[str, str]], stamp: FrameStamp, settled_before: int) -> None:
        """Soon counts exactly these (client, session) of a worker, and what opened since `settled_before`.

        Older than another set of the worker, it does nothing.
        """

    async def keep_alive(self, workers: Sequence[str]) -> Collection[str]:
        """Counts the sessions of these workers for another `WORKER_SECONDS`.

        Returns the workers whose open sessions it must be told, since it does not know them all. Never raises.
        """

    async def peek(self, operations: Sequence[Operation], now: float, /) -> list[int | None]:
        """The answers that `apply` would give, without counting anything."""

    async def blocked_clients(self, now: float, *, after: str, limit: int) -> list[Blocked]:
        """The blocked clients that sort after `after`, in order. Raises StoreAwayError."""

    async def unblock(self, client: str, now: float) -> Blocked | None:
        """Lifts the block and forgets what led to it; None when there is none. Raises StoreAwayError."""

    @property
    def unavailable_reason(self) -> str:
        """Why nothing can be counted now, in our words; empty when all is well."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class StoreAwayError(Exception):
    """The store can't be reached."""
