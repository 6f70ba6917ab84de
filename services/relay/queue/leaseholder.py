"""The id under which this process holds leases, its heartbeat, and the detection of dead workers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from services.relay.clock import MICROSECONDS, Clock
from services.relay.metrics import LEASES_FREED
from services.relay.queue import leases
from services.relay.queue.database import Connection, Database, QueueError
from services.relay.queue.identifiers import Identifiers
from services.relay.queue.settling import Event, record_events

log = structlog.get_logger(__name__)

# A worker counts as dead after this number of missed heartbeats.
_MISSED_HEARTBEATS = 6
# The number of heartbeats between two searches for leases of workers that are not registered.
_ORPHAN_HEARTBEATS = 6


@dataclass(slots=True)
class _Seen:
    beat: int
    missed: int = 0


class Leaseholder:
    """Keeps the leases of this process under its `id`. A process that was declared dead continues under a new id,
    without its leases.
    """

    def __init__(
        self,
        database: Database,
        identifiers: Identifiers,
        clock: Clock,
        lease_seconds: float,
    ) -> None:
        self._database = database
        self._identifiers = identifiers
        self._clock = clock
        self._lease = int(lease_seconds * MICROSECONDS)
        self._heartbeat_seconds = lease_seconds / _MISSED_HEARTBEATS
        self._seen: dict[int, _Seen] = {}
        # These functions are called with an id that has lost all its leases.
        self.on_lost: list[Callable[[int], None]] = []
        # These functions are called when the deliveries of a dead worker were freed.
        self.on_freed: list[Callable[[], None]] = []
        # These functions are called when the database has answered a heartbeat.
        self.on_heartbeat: list[Callable[[], None]] = []
        self.id = 0
        self.name = f"{socket.gethostname()}:{os.getpid()}"[:100]
        # The reason why the last heartbeat failed. It is empty when it succeeded.
        self.unavailable_reason = ""

    async def open(self) -> None:
        """Registers this process, and frees the leases that no running process can have. Raises QueueError."""
        await self._register()
        known_workers = set() if self._database.exclusive else await self._database.read(leases.workers_known)
        for owner in await self._database.read(lambda connection: leases.others(connection, self.id)):
            if owner not in known_workers:
                await self._free(owner, "the process does not run any more")

    async def run(self) -> None:
        """Sends heartbeats without end. An outage of the database ends no lease, because during it no process can see
        that another one has stopped.
        """
        beats = 0
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            beats += 1
            try:
                await self._send_heartbeat()
                if beats % _ORPHAN_HEARTBEATS == 0 and not self._database.exclusive:
                    await self._free_orphans()
            except QueueError as error:
                self.unavailable_reason = str(error)
                log.warning("lease_not_renewed", reason=self.unavailable_reason)
            else:
                self.unavailable_reason = ""
                for tell in self.on_heartbeat:
                    tell()

    async def give_up(self) -> None:
        """Unregisters this process.

        Call it when all attempts are settled. The deliveries that are still leased were not tried.
        """

        def work(connection: Connection) -> bool:
            leases.unregister(connection, self.id)
            return leases.free(connection, self.id, self._clock.now(), untried=True).all

        while not await self._database.write(work):
            pass

    async def renewed_identity(self, lost: int) -> None:
        """Continues under a new id, if `lost` is still the present one. Raises QueueError."""
        if self.id != lost:
            return
        log.error("leases_lost", worker=lost, reason="other relays declared this one dead")
        await self._register()
        for tell in self.on_lost:
            tell(lost)

    async def _register(self) -> None:
        number, now = self._identifiers.next(), self._clock.now()
        await self._database.write(lambda connection: leases.register(connection, number, self.name, now, self._lease))
        self.id = number

    async def _send_heartbeat(self) -> None:
        worker, now = self.id, self._clock.now()
        others = await self._database.write(lambda connection: leases.renew(connection, worker, now, self._lease))
        if others is None:
            await self.renewed_identity(worker)
            return
        for other, beat in others.items():
            seen = self._seen.get(other)
            if seen is None or seen.beat != beat:
                self._seen[other] = _Seen(beat)
                continue
            seen.missed += 1
            if seen.missed >= _MISSED_HEARTBEATS:
                await self._free(other, "its heartbeat has stopped")
        for gone in self._seen.keys() - others.keys():
            del self._seen[gone]

    async def _free_orphans(self) -> None:
        known_workers = await self._database.read(leases.workers_known)
        for owner in await self._database.read(lambda connection: leases.others(connection, self.id)):
            if owner not in known_workers:
                await self._free(owner, "the worker is not registered")

    async def _free(self, owner: int, reason: str) -> None:
        count = 0
        while True:
            freed = await self._database.write(lambda connection: self._free_some(connection, owner))
            count += len(freed.deliveries)
            if freed.all:
                break
        self._seen.pop(owner, None)
        if count:
            LEASES_FREED.inc(count)
            log.warning("leases_freed", worker=owner, deliveries=count, reason=reason)
            for tell in self.on_freed:
                tell()

    def _free_some(self, connection: Connection, owner: int) -> leases.Freed:
        """Frees some leases of a dead worker. The worker is removed in the same transaction, so it can neither settle
        the deliveries that it had, nor lease more.
        """
        now = self._clock.now()
        leases.unregister(connection, owner)
        freed = leases.free(connection, owner, now)
        record_events(
            connection,
            [
                Event(self._identifiers.next(), message, now, "resumed", recipient, "the relay that had leased it died")
                for _, message, recipient in freed.deliveries
            ],
        )
        return freed
