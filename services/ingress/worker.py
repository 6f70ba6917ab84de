"""One worker process: connects the parts, serves until shutdown, and lets sessions end."""

from __future__ import annotations

import asyncio
import datetime
import gc
import sys
from collections.abc import Collection
from pathlib import Path

import grpc
import structlog
from prometheus_client import REGISTRY, CollectorRegistry

from libs.runtime import processors, rpc, service_manager
from libs.runtime.addresses import of_worker
from libs.runtime.certificates import CertificateFacts, CertificateFile
from libs.runtime.lifecycle import Background, Shutdown, StartupError
from libs.runtime.metrics import MetricsServer
from services.ingress import limits, machine_checks, servicer, spans, submission_servicer
from services.ingress.checks.runner import CheckRunner
from services.ingress.clients.policy import PolicyClient
from services.ingress.clients.relay import RelayClient
from services.ingress.handler.hooks import Hooks
from services.ingress.listener import Listeners, usable_connections
from services.ingress.machine_checks import Hostname
from services.ingress.mail_log import MailLog
from services.ingress.metrics import Metrics, MetricsCollector
from services.ingress.session import Listener
from services.ingress.settings import Settings
from services.ingress.submission_servicer import IngressServicer
from services.ingress.tls import Certificates, TlsOptions, ignore_undecodable_names, self_signed
from services.ingress.worker_context import WorkerContext

log = structlog.get_logger(__name__)

# The interval of checks whether the other services can be reached.
_READINESS_SECONDS = 0.1


class Worker:
    """The parts of one worker process, made from its settings. `number` counts the workers of this ingress from 0."""

    def __init__(
        self,
        settings: Settings,
        shutdown: Shutdown,
        number: int,
        registry: CollectorRegistry,
        crypto_processors: Collection[int] = (),
    ) -> None:
        """`crypto_processors` run work that would delay sessions. If it is empty, this work runs on the processors of
        the sessions.
        """
        self._settings = settings
        self._number = number
        self.metrics = Metrics()
        security = settings.security
        self.policy = PolicyClient(settings.policy_targets, security, self.metrics, deadline=settings.policy_seconds)
        self.relay = RelayClient(settings.relay_targets, security, self.metrics, deadline=settings.relay_seconds)
        self._certificates = _certificates(settings, self.metrics)
        self._checker = _checker(settings, self.metrics, crypto_processors)
        self.context = WorkerContext(
            policy=self.policy,
            relay=self.relay,
            certificates=self._certificates,
            checker=self._checker,
            limits=limits.of(settings),
            metrics=self.metrics,
            mail_log=MailLog(),
            spool=_spool(settings),
        )
        self._wanted_connections = max(1, settings.max_connections // settings.workers)
        self._usable_connections = usable_connections(self._wanted_connections)
        self.listeners = Listeners(
            self.context,
            max_connections=self._usable_connections,
            max_per_client=settings.max_connections_per_client,
            proxy_networks=settings.proxy_networks,
        )
        self._grpc_certificate = CertificateFile(security.tls.certificate) if security.tls else None
        registry.register(
            MetricsCollector(self.metrics, self.listeners.open_sessions, self._streams, self._all_certificates)
        )
        self._exposition = MetricsServer(self._readiness, registry, optional=("open_files", "grpc"))
        # The address of the gRPC server, once it has started.
        self.grpc = ""
        hostname = Hostname()
        pairs = certificate_files(settings)
        self._machine_checks = machine_checks.checks(settings, [certificate for certificate, _ in pairs], hostname)
        submissions = IngressServicer(self.listeners)

        def register(server: grpc.aio.Server) -> None:
            servicer.register(server, self._machine_checks, hostname.set, lambda: self._certificates.in_use)
            submissions.register(server)

        callers = {servicer.SERVICE: servicer.CALLERS, submission_servicer.SERVICE: submission_servicer.CALLERS}
        self._grpc = rpc.Server(callers, register, self.metrics.grpc_call_refused)
        self._background = Background(shutdown)

    async def start(self) -> None:
        """Opens the streams and the ports. Raises StartupError."""
        settings, background = self._settings, self._background
        if settings.handler:
            self.context.hooks = await Hooks.load(settings.handler, self.metrics, settings.handler_seconds)
        background.start(self.policy.run(), "policy_stream")
        background.start(self.relay.run(), "relay_stream")
        background.start(self._certificates.watch(), "certificates")
        background.start(self.listeners.watch(_sweep_seconds(settings)), "deadlines")
        metrics_port = settings.metrics_port and settings.metrics_port + self._number
        await self._exposition.start(settings.metrics_host, metrics_port)
        self.grpc = await self._grpc.start(str(of_worker(settings.grpc_address, self._number)), settings.security)
        ports = {
            Listener.SMTP: settings.smtp_port,
            Listener.SUBMISSION: settings.submission_port,
            Listener.SUBMISSIONS: settings.smtps_port,
        }
        if not any(ports.values()):
            raise StartupError("all ports are closed by the settings")
        for kind, port in ports.items():
            if port:
                await self.listeners.listen(kind, settings.hosts, port, shared=settings.workers > 1)
        await self._grpc.serving(True)
        names = {kind.label: port for kind, port in self.listeners.ports.items()}
        log.info("listening", worker=self._number, host=settings.host, ports=names)
        background.start(self._tell_ready(), "readiness")
        background.start(self._machine_checks.run(), "checks")

    async def drain(self) -> None:
        """Accepts no more connections, and lets sessions end."""
        await self._grpc.serving(False)
        await self.listeners.drain(self._settings.drain_seconds)

    async def stop(self) -> None:
        await self.policy.stop()
        await self._background.stop()
        await self._grpc.stop(0)
        await self._exposition.stop()
        await self._checker.close()
        if self.context.hooks is not None:
            self.context.hooks.close()

    @property
    def failure(self) -> BaseException | None:
        """Returns the exception that ended a background task, or None."""
        return self._background.failure

    async def _tell_ready(self) -> None:
        """Waits until policy and relay are reached for the first time, and then reports to the service manager that
        this process can do its work.
        """
        while not all(self._streams().values()):  # noqa: ASYNC110 - streams come and go, and only the first time counts
            await asyncio.sleep(_READINESS_SECONDS)
        service_manager.tell_ready()

    def _streams(self) -> dict[str, bool]:
        return {"policy": self.policy.connected, "relay": self.relay.connected}

    def _all_certificates(self) -> tuple[CertificateFacts, ...]:
        """Returns the certificates for SMTP and the certificate for gRPC, whose names are left out."""
        if self._grpc_certificate is None:
            return self._certificates.in_use
        own = CertificateFacts(self._grpc_certificate.path, (), self._grpc_certificate.expiry())
        return (*self._certificates.in_use, own)

    def _readiness(self) -> dict[str, str]:
        return {**self._missing(), **self._settings.grpc_weakness}

    def _missing(self) -> dict[str, str]:
        """Returns the dependencies for /readyz, with what is wrong with each. While policy or relay cannot be reached,
        no mail can be accepted. Too few open files only limit the number of connections.
        """
        missing = {service: "" if is_open else "unreachable" for service, is_open in self._streams().items()}
        if self._usable_connections < self._wanted_connections:
            missing["open_files"] = (
                f"the limit of open files leaves room for {self._usable_connections} "
                f"of {self._wanted_connections} connections"
            )
        return missing


async def serve(settings: Settings, shutdown: Shutdown, number: int) -> None:
    """Runs worker `number` until shutdown is requested and its sessions have ended. Raises StartupError."""
    spans.configure()
    ignore_undecodable_names()
    crypto_processors = processors.usable() if settings.cpus else ()
    _pin_to_processor(settings, number)
    worker = Worker(settings, shutdown, number, REGISTRY, crypto_processors)
    if settings.workers > 1:
        _end_with_supervisor(shutdown)
    try:
        await worker.start()
        _freeze_garbage_collector()
        await shutdown.wait()
        await worker.drain()
    finally:
        await worker.stop()
    if worker.failure is not None:
        raise StartupError("a background task died")


def _pin_to_processor(settings: Settings, number: int) -> None:
    """Pins the process to one processor, before there are other threads. This thread and the threads of gRPC wake each
    other very often, which costs least on the same processor.
    """
    if settings.cpus:
        try:
            processors.set_affinity([settings.cpus[number % len(settings.cpus)]])
        except ValueError as error:
            raise StartupError(f"INGRESS_CPUS: {error}") from error


def _checker(settings: Settings, metrics: Metrics, crypto_processors: Collection[int]) -> CheckRunner:
    try:
        return CheckRunner(
            settings.nameservers,
            metrics,
            crypto_threads=settings.crypto_threads,
            clamd_concurrency=settings.clamd_concurrency,
            rspamd_concurrency=settings.rspamd_concurrency,
            crypto_processors=crypto_processors,
        )
    except ValueError as error:
        raise StartupError(f"INGRESS_NAMESERVERS: {error}") from error


def certificate_files(settings: Settings) -> tuple[tuple[Path, Path], ...]:
    """Returns the configured pairs. If there are none, returns the pair that `self_signed` finds or makes. Raises
    StartupError.
    """
    if settings.certificate_files:
        return settings.certificate_files
    return (self_signed(settings.data_dir / "tls", "localhost", datetime.datetime.now(datetime.UTC)),)


def _certificates(settings: Settings, metrics: Metrics) -> Certificates:
    pairs = certificate_files(settings)
    options = TlsOptions(
        minimum=settings.tls_min_version,
        ciphers=settings.tls_ciphers,
        session_tickets=settings.tls_session_tickets,
    )
    return Certificates(pairs, options, metrics)


def _spool(settings: Settings) -> Path:
    folder = settings.data_dir / "spool"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartupError(f"cannot create {folder}: {error.strerror}") from error
    return folder


def _freeze_garbage_collector() -> None:
    """Exempts everything that is loaded so far from garbage collection, because it stays for the life of the
    process.
    """
    gc.collect()
    gc.freeze()


def _sweep_seconds(settings: Settings) -> float:
    """Returns the interval of the sweeps: a quarter of the shortest time-out, but at most 1 s. No time-out is late by
    more than this interval.
    """
    shortest = min(
        settings.command_seconds,
        settings.data_block_seconds,
        settings.data_grace_seconds,
        settings.handshake_seconds,
        settings.proxy_seconds,
        settings.mailless_session_seconds,
    )
    return min(1.0, shortest / 4)


def _end_with_supervisor(shutdown: Shutdown) -> None:
    """Ends this process when the supervisor dies: the supervisor has the other end of our standard input."""
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _supervisor_gone, shutdown)


def _supervisor_gone(shutdown: Shutdown) -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    shutdown.request("supervisor gone")
