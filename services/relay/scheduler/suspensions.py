"""The suspended destinations as this process knows them, and the suspensions that it makes itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from services.relay.clock import MICROSECONDS, Clock
from services.relay.configuration.model import Configuration, Quarantine, RelayHost
from services.relay.model.redirect import next_hop_of
from services.relay.model.states import HELD_BY_ROUTE, QUARANTINE
from services.relay.queue import rerouting
from services.relay.queue.claiming import wake_held
from services.relay.queue.database import Database, QueueError
from services.relay.queue.destinations import Suspension, resume, suspend, suspensions
from services.relay.routing.rules import relay_hosts, resolve_redirected

log = structlog.get_logger(__name__)

# The name of the author of relay's own suspensions. A new configuration ends these.
BY_OURSELVES = "relay"
# After this time a refused login is tried again, even if the configuration has not changed (C131).
_LOGIN_SECONDS = 1800
# The time between two reads of the database, because other relays suspend destinations too.
_LOOK_SECONDS = 5.0
# The least time between two passes over all waiting mail, each after a new configuration. Several configurations that
# come quickly need only one pass.
_BETWEEN_CHANGES_SECONDS = 0.25
# The pause before a change that could not be stored is tried again.
_RETRY_SECONDS = 1.0
_BATCH = 500


class Suspensions:
    """Knows and makes suspensions. There is one in each process, for as long as the process lives."""

    def __init__(self, database: Database, clock: Clock) -> None:
        # These functions are called when a change has made mail due.
        self.on_change: list[Callable[[], None]] = []
        self._database = database
        self._clock = clock
        self._known: dict[str, Suspension] = {}
        # The known suspensions that are not stored in the database yet.
        self._unwritten: dict[str, Suspension] = {}
        # None stands for the configuration in `_new_configuration`.
        self._changes: asyncio.Queue[Suspension | None] = asyncio.Queue()
        # The newest configuration that `run` has not begun to apply, or None.
        self._new_configuration: Configuration | None = None
        # Whether the database gave no answer to the last request.
        self._unknown = False
        # The relay hosts of the previous configuration, by destination. It is None when there was no previous
        # configuration.
        self._relay_hosts: dict[str, RelayHost] | None = None

    def __contains__(self, destination: str) -> bool:
        if not self._known:
            return False
        suspension = self._known.get(destination)
        return suspension is not None and suspension.until > self._clock.now()

    def get(self, destination: str) -> Suspension | None:
        return self._known.get(destination)

    def suspend_by_outcome(self, destination: str, reason: str) -> None:
        """Suspends a destination after an attempt that shows that no mail can be delivered there until an operator
        acts.
        """
        if destination in self:
            return
        until = self._clock.now() + _LOGIN_SECONDS * MICROSECONDS
        log.error("destination_suspended", destination=destination, reason=reason, seconds=_LOGIN_SECONDS)
        suspension = Suspension(destination, until, BY_OURSELVES)
        self._known[destination] = self._unwritten[destination] = suspension
        self._changes.put_nowait(suspension)

    def configuration_changed(self, configuration: Configuration) -> None:
        """Makes sure that mail without a route, and mail for destinations that relay has suspended itself, is tried
        again.

        When several configurations come quickly, this is done only once, under the last of them.
        """
        if self._new_configuration is None:
            self._changes.put_nowait(None)
        self._new_configuration = configuration

    async def suspend(self, suspension: Suspension) -> None:
        """Suspends a destination. Raises QueueError."""
        await self._database.write(lambda connection: suspend(connection, suspension))
        self._known[suspension.name] = suspension
        self._unwritten.pop(suspension.name, None)

    async def resume(self, name: str) -> bool:
        """Ends a suspension. Returns whether the destination was suspended. Raises QueueError."""
        now, was_known = self._clock.now(), name in self
        resumed = await self._database.write(lambda connection: resume(connection, name, now))
        self._known.pop(name, None)
        return resumed or was_known

    async def look(self) -> None:
        """Reads the suspensions that other relays made. Raises QueueError."""
        now = self._clock.now()
        known_suspensions = await self._database.read(lambda connection: suspensions(connection, now))
        self._known = known_suspensions | self._unwritten

    async def run(self) -> None:
        """Stores changes, and reads those of other relays, without end."""
        loop = asyncio.get_running_loop()
        looked_at = float("-inf")
        while True:
            suspension: Suspension | None = None
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    suspension = await self._changes.get()
            except TimeoutError:
                pass
            if suspension is None and self._new_configuration is not None:
                await asyncio.sleep(looked_at + _BETWEEN_CHANGES_SECONDS - loop.time())
            configuration = self._new_configuration if suspension is None else None
            if configuration is not None:
                self._new_configuration = None
            try:
                if suspension is not None:
                    await self.suspend(suspension)
                elif configuration is not None:
                    await self._after_change(configuration)
                    looked_at = loop.time()
                await self.look()
                self._answers()
            except QueueError as error:
                self._fails(error)
                if suspension is not None or configuration is not None:
                    await asyncio.sleep(_RETRY_SECONDS)
                if suspension is not None:
                    self._changes.put_nowait(suspension)
                elif configuration is not None and self._new_configuration is None:
                    self.configuration_changed(configuration)

    def _answers(self) -> None:
        if self._unknown:
            self._unknown = False
            log.info("suspensions_read", reason="the database answers again")

    def _fails(self, error: QueueError) -> None:
        """Logs the failure when it begins, and not each time that it continues."""
        if not self._unknown:
            self._unknown = True
            log.warning("suspensions_unknown", reason=str(error))

    async def _after_change(self, configuration: Configuration) -> None:
        now = self._clock.now()
        freed = (HELD_BY_ROUTE,) if configuration.quarantine is Quarantine.HOLD else (HELD_BY_ROUTE, QUARANTINE)
        woken = await self._database.write(
            lambda connection: sum(wake_held(connection, destination, now) for destination in freed)
        )
        if woken:
            log.info("held_mail_due", deliveries=woken, reason="the configuration has changed")
        # Suspensions that are not stored yet were made under the new configuration, so they stay.
        old = [
            name
            for name, suspension in self._known.items()
            if suspension.by == BY_OURSELVES and name not in self._unwritten
        ]
        for name in old:
            await self.resume(name)
        await self._try_at_once(configuration, old)
        await self._reroute(configuration)
        for tell in self.on_change:
            tell()

    async def _try_at_once(self, configuration: Configuration, suspended: Sequence[str]) -> None:
        """Makes the mail for a relay host due at once when the settings of the host were changed (F56).

        Its last attempt may have failed because of a password or a certificate that has been corrected. The first
        configuration after a start may already have the correction. Then only the suspension shows that there was a
        fault.
        """
        before, self._relay_hosts = self._relay_hosts, relay_hosts(configuration)
        for name, host in self._relay_hosts.items():
            corrected = name in suspended if before is None else before.get(name) not in (None, host)
            if not corrected:
                continue
            after: int | None = 0
            count = 0
            while after is not None:
                now, start = self._clock.now(), after
                due = await self._database.write(
                    lambda connection: rerouting.make_due(connection, name, start, _BATCH, now)  # noqa: B023
                )
                count, after = count + due.count, due.after
            if count:
                log.info("mail_due_at_once", destination=name, deliveries=count, revision=configuration.revision)

    async def _reroute(self, configuration: Configuration) -> None:
        """Moves waiting mail to its new destinations. Mail for a suspended or dead destination is not tried, so nothing
        else would move it.
        """

        def destination(sender: bytes, recipient: bytes, quarantine: bool, next_hop: str | None) -> str:
            try:
                hop = next_hop_of(next_hop)
                return resolve_redirected(configuration, sender, recipient, hop, quarantine=quarantine).destination
            except (ValueError, TypeError, AttributeError):
                # A damaged row keeps its destination. The claim will set it aside (C140).
                return name

        for name in await self._database.read(rerouting.names):
            if name not in self and not await self._database.write(
                lambda connection: rerouting.differs(connection, name, destination)  # noqa: B023 - used at once
            ):
                continue
            after: int | None = 0
            count = 0
            while after is not None:
                now, start = self._clock.now(), after
                moved = await self._database.write(
                    lambda connection: rerouting.move(connection, name, destination, start, _BATCH, now)  # noqa: B023
                )
                count, after = count + moved.count, moved.after
            if count:
                log.info("mail_rerouted", destination=name, deliveries=count, revision=configuration.revision)
