"""Lets several config_api processes share one database. Each process reports there which revision is in force at the
replicas that watch it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.config_api.snapshot.in_force import Watcher, Watchers
from services.config_api.storage.replicas import ReplicaRow, ReplicaTable

log = structlog.get_logger(__name__)

_RENEW_SECONDS = 3.0
# The interval in seconds at which the rows of other processes are read while an answer waits for a replica that watches
# at another process. The comment at POLL_SECONDS in publisher.py says why notifications are not used. While no answer
# waits, the longer interval `_RENEW_SECONDS` is used.
_LOOK_SECONDS = 0.03
# While no other config_api is known, the revisions in force are reported after this interval at the earliest.
_ALONE_SECONDS = 0.25


class Sharing:
    """Renews the rows of this process. From the rows of other processes, it sets `siblings`, and tells `Watchers` which
    replicas watch at these processes.
    """

    def __init__(self, table: ReplicaTable, watchers: Watchers, own: Callable[[], ReplicaRow]) -> None:
        """`own` returns the row that describes this process."""
        self._table = table
        self._watchers = watchers
        self._own = own
        # The rows of the other config_api processes.
        self.siblings: list[ReplicaRow] = []

    async def run(self) -> None:
        """Runs until it is cancelled. It continues after an outage of the database."""
        loop = asyncio.get_running_loop()
        written: list[ReplicaRow] = []
        renew_at = loop.time()
        while True:
            rows = self._rows()
            # An outage of the database is ignored here, because the publisher reports it.
            with contextlib.suppress(SQLAlchemyError, OSError):
                if loop.time() >= renew_at or _names(rows) != _names(written):
                    await self._table.renew(rows)
                    written, renew_at = rows, loop.time() + _RENEW_SECONDS
                elif changed := [row for row in rows if row not in written]:
                    await self._table.write(changed)
                    written = rows
                await self.look()
            if not self.siblings:
                await asyncio.sleep(_ALONE_SECONDS)
            await self._watchers.wait_for_change(_LOOK_SECONDS if self._watchers.waits_elsewhere else _RENEW_SECONDS)

    async def look(self) -> None:
        """Reads the rows of other processes, and updates `siblings` and `Watchers`."""
        rows = await self._table.others()
        self.siblings = [row for row in rows if row.service == self._own().service]
        elsewhere = [Watcher(row.name, row.service, row.revision) for row in rows if row.service != self._own().service]
        self._watchers.set_elsewhere(elsewhere)

    async def leave(self) -> None:
        """Removes the rows of this process."""
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self._table.leave()

    def _rows(self) -> list[ReplicaRow]:
        """Returns the row of this process, and a row for each replica that watches here, with the lowest revision that
        may be in force at this replica.
        """
        watchers: dict[tuple[str, str], int] = {}
        for watcher in self._watchers.here():
            key = (watcher.service, watcher.name)
            watchers[key] = min(watcher.revision, watchers.get(key, watcher.revision))
        holder = self._table.holder
        return [self._own(), *(ReplicaRow(*key, holder, revision) for key, revision in sorted(watchers.items()))]


def _names(rows: Sequence[ReplicaRow]) -> list[tuple[str, str]]:
    return [(row.service, row.name) for row in rows]
