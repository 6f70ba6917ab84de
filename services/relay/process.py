"""The parts of the process: how they are connected, started in order, and stopped in order."""

from __future__ import annotations

import random
from typing import Protocol

import grpc
import structlog

from libs.runtime import rpc, service_manager
from libs.runtime.certificates import show_expiry
from libs.runtime.configuration_watch import replica_name
from libs.runtime.dialing import Dialers
from libs.runtime.lifecycle import Background, Shutdown, StartupError, finished_within
from libs.runtime.metrics import MetricsServer
from services.relay import machine_checks
from services.relay.api.operator import Operator
from services.relay.api.recipient_verification import AsksServers, RecipientVerifier
from services.relay.api.servicer import (
    CALLERS,
    CHECKS_CALLERS,
    CHECKS_SERVICE,
    SERVICE,
    Explainer,
    RelayServicer,
    register_checks,
)
from services.relay.clock import Clock
from services.relay.configuration.watch import configuration_watch
from services.relay.intake.disk_space import Storage
from services.relay.intake.intake import Intake
from services.relay.metrics import CERTIFICATE_EXPIRY, GRPC_CALLS_REFUSED
from services.relay.model.attempt import Transport
from services.relay.queue.database import Database, QueueError, SqliteDatabase
from services.relay.queue.gauges import QueueGauges
from services.relay.queue.group_commit import Committer
from services.relay.queue.identifiers import Identifiers
from services.relay.queue.leaseholder import Leaseholder
from services.relay.queue.statistics import Statistics
from services.relay.scheduler.attempts import Attempts
from services.relay.scheduler.backlog import MemoryBudget
from services.relay.scheduler.dispatcher import Dispatcher
from services.relay.scheduler.expiry import Sweeper
from services.relay.scheduler.suspensions import Suspensions
from services.relay.settings import Settings

log = structlog.get_logger(__name__)

_MEGABYTE = 1024 * 1024
_GRACE_SECONDS = 2.0
_COMMIT_SECONDS = 10.0


class DeliveringSide(Transport, Explainer, AsksServers, Protocol):
    """The part of relay that delivers mail, and that explains routes and asks servers about recipients."""


class Relay:
    """Makes the parts of the process, in an order in which each part gets the parts that it needs."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        shutdown: Shutdown,
        transport: DeliveringSide,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self.database = database
        self.clock = clock
        self.transport = transport
        octets = settings.memory_mb * _MEGABYTE
        self._dialers = Dialers("config_api", settings.grpc_targets, settings.security)
        name = replica_name("relay", settings.grpc_address)
        self.watch = configuration_watch(self._dialers, settings.kept_snapshot, name, settings.config_wait_seconds)
        self.identifiers = Identifiers(database)
        # A part that listens to another part is made after that part, and adds itself to the listeners of that part.
        self.holder = Leaseholder(database, self.identifiers, clock, settings.lease_seconds)
        self.statistics = Statistics(database, clock)
        self.committer = Committer(database, clock, self.holder, settings.store_seconds, self.statistics)
        self.suspensions = Suspensions(database, clock)
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
            lambda: self.watch.connected,
            rng,
        )
        self.memory = MemoryBudget(settings.backlog, octets)
        self.dispatcher = Dispatcher(
            database,
            clock,
            self.committer,
            self.holder,
            self.transport,
            attempts,
            self.suspensions,
            configuration,
            self.memory,
            settings.concurrency,
        )
        folder = database.path.parent if isinstance(database, SqliteDatabase) else None
        self.storage = Storage(folder, settings.disk_reserve_mb * _MEGABYTE, clock.steady)
        self.intake = Intake(
            clock, self.committer, self.identifiers, configuration, self.memory, self.storage, octets, self.statistics
        )
        wake = self.dispatcher.wake
        self.watch.on_change += [self.suspensions.configuration_changed, lambda _: wake()]
        self.verifier = RecipientVerifier(database, clock, configuration, self.transport)
        self.operator = Operator(database, clock, self.identifiers, configuration, wake, self.statistics)
        self.sweeper = Sweeper(database, clock, self.identifiers, configuration, wake, self.statistics)
        servicer = RelayServicer(
            self.intake,
            self.storage,
            database,
            clock,
            self.operator,
            self.suspensions,
            configuration,
            self.transport,
            wake,
            self.verifier,
            self.statistics,
        )
        self.checks = machine_checks.checks(settings, folder, configuration, transport.look_up_text)

        def register(server: grpc.aio.Server) -> None:
            servicer.register(server)
            register_checks(server, self.checks)

        callers = {SERVICE: CALLERS, CHECKS_SERVICE: CHECKS_CALLERS}
        self._server = rpc.Server(callers, register, GRPC_CALLS_REFUSED.inc, revision=lambda: self.watch.revision)
        self._metrics = MetricsServer(self._readiness, optional=("grpc",))
        self._background = Background(shutdown)

    async def open(self) -> None:
        """Reads all data that the process needs before it serves. Raises StartupError."""
        await self.watch.restore()
        try:
            await self.identifiers.open()
            await self.holder.open()
            await self.suspensions.look()
        except QueueError as error:
            raise StartupError(f"the queue's database can't be used: {error}") from error

    async def start(self) -> str:
        """Begins to serve, and returns the address at which gRPC listens. Raises StartupError."""
        settings, background = self._settings, self._background
        if settings.security.tls is not None:
            show_expiry(CERTIFICATE_EXPIRY, settings.security.tls.certificate)
        listening = await self._server.start(str(settings.grpc_address), settings.security)
        await self._metrics.start(settings.metrics_host, settings.metrics_port)
        background.start(self.identifiers.run(), "identifiers")
        background.start(self.holder.run(), "leases")
        background.start(self.committer.run(), "commits")
        background.start(self.suspensions.run(), "suspensions")
        background.start(self.dispatcher.run(), "dispatcher")
        background.start(self.sweeper.run(), "sweeps")
        background.start(self.sweeper.run_retention(), "retention")
        background.start(self.storage.run(), "storage")
        background.start(QueueGauges(self.database, self.clock).run(), "figures")
        background.start(self.statistics.run(), "statistics")
        background.start(self.checks.run(), "checks")
        background.start(self.watch.run(), "configuration")
        self._until_configured()
        log.info("ready", listen=listening, worker=self.holder.name)
        return listening

    async def close(self) -> None:
        """Stops in this order: new mail is refused, transactions end, their outcomes are committed, and leases are
        given up.
        """
        settings = self._settings
        await self._server.stop(_GRACE_SECONDS)
        await self.intake.looked_up()
        await self.verifier.close()
        await self.dispatcher.stop(settings.drain_seconds)
        settled = await finished_within(_COMMIT_SECONDS, self.committer.drained())
        await self._background.stop()
        await self._dialers.close()
        await self.transport.close(_GRACE_SECONDS)
        if settled:
            await self._write_statistics()
            await self._unregister()
        await self._metrics.stop()
        if self._background.failure is not None:
            raise StartupError(f"stopped by a fault: {type(self._background.failure).__name__}")

    def _until_configured(self) -> None:
        """Reports SERVING as soon as there is a configuration, because mail can be accepted then, and NOT_SERVING
        before.
        """

        async def wait() -> None:
            await self.watch.configured()
            await self._server.serving(True)
            service_manager.tell_ready()

        self._background.start(wait(), "first configuration")

    async def _write_statistics(self) -> None:
        try:
            await self.statistics.write()
        except QueueError as error:
            log.warning("statistics_not_written", reason=str(error))

    async def _unregister(self) -> None:
        try:
            await self.holder.give_up()
        except QueueError as error:
            log.warning("leases_not_given_back", reason=str(error))

    def _readiness(self) -> dict[str, str]:
        return {
            "snapshot": "" if self.watch.current is not None else "no configuration yet",
            "database": "can't be used" if self.committer.unavailable_reason or self.holder.unavailable_reason else "",
            "disk": "" if self.storage.state.accepting else "below the reserve, or full",
            **self._settings.grpc_weakness,
        }
