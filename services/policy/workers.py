"""The workers of ingress that send frames to this process, and whose sessions must stay counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from services.policy.state.store import Store

# The life of a worker in the store is extended with its first frame after this time.
_REFRESH_SECONDS = 1.0


class Worker:
    """A worker of ingress at one stream to this process."""

    __slots__ = ("ask", "name", "refresh_at")

    def __init__(self, name: str, ask: Callable[[], None]) -> None:
        """`ask` asks the worker for all its open sessions."""
        self.name = name
        self.ask = ask
        # The time at which its life must be extended next, by the monotonic clock. It is infinite for a worker that has
        # not sent its name.
        self.refresh_at = float("inf")


class Workers:
    """Extends the life of workers in the store, and asks workers for their sessions if the store does not know
    these.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._workers: set[Worker] = set()
        self._due: set[Worker] = set()
        self._wake = asyncio.Event()
        # Whether the configuration limits open sessions, so that they are counted.
        self._counting = False

    def add(self, worker: Worker) -> None:
        """Notes that a stream has opened, and that its worker has sent its open sessions."""
        worker.refresh_at = time.monotonic() + _REFRESH_SECONDS
        self._workers.add(worker)

    def remove(self, worker: Worker) -> None:
        """Notes that the stream has ended. The worker may have streams to other replicas."""
        self._workers.discard(worker)

    def heard(self, worker: Worker) -> None:
        """Notes that a frame of the worker came."""
        now = time.monotonic()
        if now >= worker.refresh_at and self._counting:
            worker.refresh_at = now + _REFRESH_SECONDS
            self._due.add(worker)
            self._wake.set()

    def count(self, counting: bool) -> None:
        """Notes whether sessions are counted from now on. If they were not counted before, asks workers for their open
        sessions.
        """
        if counting and not self._counting:
            for worker in self._workers:
                worker.ask()
        self._counting = counting

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, set()
            unknown = await self._store.keep_alive(sorted({worker.name for worker in due}))
            for worker in due & self._workers:
                if worker.name in unknown:
                    worker.ask()
