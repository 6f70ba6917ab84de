"""Several config_api on one database: each tells the others which revision is in force where it is watched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.config_api.snapshot.in_force import Watcher, Watchers
from services.config_api.storage.replicas import ReplicaRow, ReplicaTable

log = structlog.get_logger(__name__)

_RENEW_SECONDS = 3.0
# While an answer waits for a replica that watches elsewhere. What is in force there stands only in the database, and
# publisher.py says at POLL_SECONDS why it is asked. While no answer waits, nothing is looked for this often.
_LOOK_SECONDS = 0.03


class Sharing:
    """Keeps this process's rows renewed, and `Watchers.elsewhere` and `siblings` as others renew theirs."""

    def __init__(self, table: ReplicaTable, watchers: Watchers, own: Callable[[], ReplicaRow]) -> None:
        """`own`: the row of this process."""
        self._table = table
        self._watchers = watchers
        self._own = own
        # The other config_api.
        self.siblings: list[ReplicaRow] = []

    async def run(self) -> None:
        """Runs until it is cancelled, also through an outage of the database."""
        loop = asyncio.get_running_loop()
        written: list[ReplicaRow] = []
        renew_at = loop.time()
        while True:
            rows = self._rows()
            # An outage is told by who follows the database all the time.
            with contextlib.suppress(SQLAlchemyError, OSError):
                if rows != written or loop.time() >= renew_at:
                    await self._table.renew(rows)
                    written, renew_at = rows, loop.time() + _RENEW_SECONDS
                await self.look()
            await self._watchers.stirred(_LOOK_SECONDS if self._watchers.waits_elsewhere else _RENEW_SECONDS)

    async def look(self) -> None:
        """Learns what others have written."""
        rows = await self._table.others()
        self.siblings = [row for row in rows if row.service == self._own().service]
        elsewhere = [Watcher(row.name, row.service, row.revision) for row in rows if row.service != self._own().service]
        self._watchers.set_elsewhere(elsewhere)

    async def leave(self) -> None:
        """Drops this process's rows."""
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self._table.leave()

    def _rows(self) -> list[ReplicaRow]:
        """The rows for this process and for each replica that watches here, with the revision that is surely in force
        there.
        """
        watchers: dict[tuple[str, str], int] = {}
        for watcher in self._watchers.here():
            key = (watcher.service, watcher.name)
            watchers[key] = min(watcher.revision, watchers.get(key, watcher.revision))
        holder = self._table.holder
        return [self._own(), *(ReplicaRow(*key, holder, revision) for key, revision in sorted(watchers.items()))]
