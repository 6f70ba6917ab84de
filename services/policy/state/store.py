"""What a store of counters does, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from libs.smtp.value import value
from services.policy.rules.counting import Operation


@value(frozen=True, slots=True)
class Blocked:
    """A blocked client. Times in seconds since the epoch."""

    client: str
    reason: str
    count: int
    blocked_at: float
    ends_at: float


UNKNOWN_RECIPIENTS = "unknown_recipients"


class Store(Protocol):
    """Counters of all clients. A number is None where it could not be had: the rule that reads it is then skipped."""

    def apply_now(self, operations: Sequence[Operation], owner: str, now: float, /) -> list[int | None] | None:
        """Does the operations in order; None when that takes waiting: then `apply` must be awaited.

        `owner`: the stream that holds the sessions that open.
        """

    async def apply(self, operations: Sequence[Operation], owner: str, now: float) -> list[int | None]:
        """As `apply_now`, with waiting. Never raises."""

    def close_sessions(self, sessions: Sequence[tuple[str, str]], owner: str) -> None:
        """Gives back (client, session) that opened under `owner`, soon; nothing for those that another owner holds."""

    def resume_sessions(self, sessions: Sequence[tuple[str, str]], owner: str) -> None:
        """Counts (client, session) that were open on a stream that broke, without asking any limit."""

    async def peek(self, operations: Sequence[Operation], now: float, /) -> list[int | None]:
        """What `apply` would answer, without counting anything."""

    async def blocked_clients(self, now: float, *, after: str, limit: int) -> list[Blocked]:
        """Those that sort after `after`, in order. Raises StoreAwayError."""

    async def unblock(self, client: str, now: float) -> Blocked | None:
        """Lifts the block and forgets what led to it; None when there is none. Raises StoreAwayError."""

    @property
    def trouble(self) -> str:
        """Why nothing can be counted now, in our words; empty when all is well."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class StoreAwayError(Exception):
    """The store can't be reached."""
