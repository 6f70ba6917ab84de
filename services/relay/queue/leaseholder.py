"""The lease holder's identity, its heartbeat, and the detection of dead workers."""

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

# Heartbeats that another worker has missed when it counts as dead.
_MISSED_HEARTBEATS = 6
# Beats between two looks for leases of workers that are not even registered.
_ORPHAN_HEARTBEATS = 6


@dataclass(slots=True)
class _Seen:
    beat: int
    missed: int = 0


class Leaseholder:
    """`id` owns the leases of this process. A process that was declared dead goes on under another, without them."""

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
        # Called with an identity that has lost all its leases.
        self.on_lost: list[Callable[[int], None]] = []
        # Called when deliveries of a dead worker became free.
        self.on_freed: list[Callable[[], None]] = []
        # Called when the database has answered a heartbeat.
        self.on_heartbeat: list[Callable[[], None]] = []
        self.id = 0
        self.name = f"{socket.gethostname()}:{os.getpid()}"[:100]
        # Why the last beat failed; empty when it did not.
        self.unavailable_reason = ""

    async def open(self) -> None:
        """Registers; frees what nobody can hold any more. Raises QueueError."""
        await self._register()
        known_workers = set() if self._database.exclusive else await self._database.read(leases.workers_known)
        for owner in await self._database.read(lambda connection: leases.others(connection, self.id)):
            if owner not in known_workers:
                await self._free(owner, "it runs no more")

    async def run(self) -> None:
        """Beats for ever. An outage of the database ends no lease: nobody's beat is seen to stand still meanwhile."""
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

        Call it when all attempts are settled: the leases that are left were never tried.
        """

        def work(connection: Connection) -> bool:
            leases.unregister(connection, self.id)
            return leases.free(connection, self.id, self._clock.now(), untried=True).all

        while not await self._database.write(work):
            pass

    async def renewed_identity(self, lost: int) -> None:
        """Goes on under a new identity, if `lost` is still the present one. Raises QueueError."""
        if self.id != lost:
            return
        log.error("leases_lost", worker=lost, reason="other relays took this one for dead")
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
                await self._free(other, "its beat stands still")
        for gone in self._seen.keys() - others.keys():
            del self._seen[gone]

    async def _free_orphans(self) -> None:
        known_workers = await self._database.read(leases.workers_known)
        for owner in await self._database.read(lambda connection: leases.others(connection, self.id)):
            if owner not in known_workers:
                await self._free(owner, "it is not registered")

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
        """In one transaction with the worker's end: it can't settle what it had, nor lease anything more."""
        now = self._clock.now()
        leases.unregister(connection, owner)
        freed = leases.free(connection, owner, now)
        record_events(
            connection,
            [
                Event(self._identifiers.next(), message, now, "resumed", recipient, "the relay that had it died")
                for _, message, recipient in freed.deliveries
            ],
        )
        return freed
