"""Starts relay: the queue's database, gRPC, deliveries. `migrate` as argument only brings the database up to date."""

from __future__ import annotations

import gc
import random
import sys

import structlog

from libs.runtime import lifecycle, logging, rpc
from libs.runtime.lifecycle import Background, Shutdown, StartupError, within
from libs.runtime.metrics import MetricsServer
from services.relay import settings as environment
from services.relay.attempting import Attempts
from services.relay.backlog import Room
from services.relay.clients import ConfigurationWatch
from services.relay.clock import Clock
from services.relay.commits import Committer
from services.relay.delivery import open_transport
from services.relay.dispatcher import Dispatcher
from services.relay.identifiers import Identifiers
from services.relay.intake import Intake
from services.relay.leasing import Leaseholder
from services.relay.operating import Operator
from services.relay.queue.database import Database, QueueError, SqliteDatabase, open_database
from services.relay.servicer import SERVICE, RelayServicer
from services.relay.settings import Settings
from services.relay.storage import Storage
from services.relay.suspensions import Suspensions
from services.relay.sweeping import Sweeper

log = structlog.get_logger(__name__)

_MEGABYTE = 1024 * 1024
_GRACE_SECONDS = 2.0
_COMMIT_SECONDS = 10.0


async def main(shutdown: Shutdown) -> None:
    settings = environment.load()
    try:
        logging.configure("relay", settings.log_level)
    except ValueError as error:
        raise StartupError(f"RELAY_LOG_LEVEL: {error}") from None
    database = open_database(settings.url)
    try:
        await database.open()
        if sys.argv[1:] == ["migrate"]:
            return
        relay = Relay(settings, database, shutdown)
        await relay.open()
        try:
            await relay.serve()
        finally:
            await relay.close()
    finally:
        await database.close()


class Relay:
    """The parts of the process, in the order in which they need each other."""

    def __init__(self, settings: Settings, database: Database, shutdown: Shutdown) -> None:
        self._settings = settings
        self._shutdown = shutdown
        self._database = database
        clock = self.clock = Clock()
        octets = settings.memory_mb * _MEGABYTE
        self.watch = ConfigurationWatch(rpc.targets(settings.config_target), settings.tls, settings.snapshot_path)
        self.identifiers = Identifiers(database)
        self.holder = Leaseholder(database, self.identifiers, clock, settings.lease_seconds)
        self.committer = Committer(database, clock, self.holder)
        self.suspensions = Suspensions(database, clock)
        try:
            self.transport = open_transport(settings.delivery_options())
        except ValueError as error:
            raise StartupError(f"RELAY_NAMESERVERS: {error}") from None
        chance = random.Random()  # noqa: S311 - spreads load, guards nothing
        configuration = lambda: self.watch.current  # noqa: E731
        attempts = Attempts(
            database,
            clock,
            self.committer,
            self.holder,
            self.identifiers,
            self.transport,
            self.suspensions,
            configuration,
            chance,
        )
        room = Room(settings.backlog, octets)
        self.dispatcher = Dispatcher(
            database,
            clock,
            self.committer,
            self.holder,
            self.transport,
            attempts,
            self.suspensions,
            configuration,
            room,
            settings.concurrency,
        )
        folder = database.path.parent if isinstance(database, SqliteDatabase) else None
        self.storage = Storage(folder, settings.disk_reserve_mb * _MEGABYTE, clock.steady)
        intake = Intake(clock, self.committer, self.identifiers, configuration, room, self.storage, octets)
        self.committer.receiver = self.dispatcher
        self.holder.on_lost = self.dispatcher.drop
        self.holder.on_freed = self.dispatcher.poke
        self.watch.on_change.append(self.suspensions.configuration_changed)
        self.watch.on_change.append(lambda _: self.dispatcher.poke())
        poke = self.dispatcher.poke
        operator = Operator(database, clock, self.identifiers, configuration, poke)
        self.sweeper = Sweeper(database, clock, self.identifiers, configuration, poke)
        servicer = RelayServicer(
            intake,
            self.storage,
            database,
            clock,
            operator,
            self.suspensions,
            configuration,
            self.transport,
            poke,
        )
        self._server = rpc.Server([SERVICE], servicer.register)
        self._metrics = MetricsServer(self._readiness)
        self._background = Background(shutdown)

    async def open(self) -> None:
        """Reads what must be known before anything is served. Raises StartupError."""
        self.watch.restore()
        try:
            await self.identifiers.open()
            await self.holder.open()
            await self.suspensions.look()
        except QueueError as error:
            raise StartupError(f"the queue's database can't be used: {error}") from error

    async def serve(self) -> None:
        """Serves until shutdown is requested."""
        settings, background = self._settings, self._background
        port = await self._server.start(settings.host, settings.port, settings.tls)
        await self._metrics.start(settings.host, settings.metrics_port)
        background.start(self.identifiers.run(), "identifiers")
        background.start(self.holder.run(), "leases")
        background.start(self.committer.run(), "commits")
        background.start(self.suspensions.run(), "suspensions")
        background.start(self.dispatcher.run(), "dispatcher")
        background.start(self.sweeper.run(), "sweeps")
        background.start(self.sweeper.run_retention(), "retention")
        background.start(self.storage.run(), "storage")
        background.start(self.watch.run(), "configuration")
        await self._until_configured()
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        log.info("ready", port=port, worker=self.holder.name)
        await self._shutdown.wait()

    async def close(self) -> None:
        """In order: no new mail, transactions end, what they came to is committed, leases are given back."""
        settings = self._settings
        await self._server.stop(_GRACE_SECONDS)
        await self.dispatcher.stop(settings.drain_seconds)
        settled = await within(_COMMIT_SECONDS, self.committer.drained())
        await self._background.stop()
        await self.transport.close(_GRACE_SECONDS)
        if settled:
            await self._unregister()
        await self._metrics.stop()
        if self._background.failure is not None:
            raise StartupError(f"stopped by a fault: {type(self._background.failure).__name__}")

    async def _until_configured(self) -> None:
        """Mail can be taken in as soon as there is a configuration; NOT_SERVING until then."""

        async def wait() -> None:
            await self.watch.configured()
            await self._server.serving(True)

        self._background.start(wait(), "first configuration")

    async def _unregister(self) -> None:
        try:
            await self.holder.give_up()
        except QueueError as error:
            log.warning("leases_not_given_back", reason=str(error))

    def _readiness(self) -> dict[str, str]:
        return {
            "configuration": "" if self.watch.current is not None else "none yet",
            "database": self.committer.trouble,
        }


if __name__ == "__main__":
    lifecycle.run(main)
