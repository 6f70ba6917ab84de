"""One worker process: wires the parts together, serves until shutdown, drains."""

from __future__ import annotations

import asyncio
import datetime
import gc
import sys
from pathlib import Path

import structlog
from prometheus_client import REGISTRY

from libs.runtime import rpc
from libs.runtime.lifecycle import Background, Shutdown, StartupError
from libs.runtime.metrics import MetricsServer
from services.ingress import limits
from services.ingress.checks.runner import CheckRunner
from services.ingress.clients.policy import PolicyClient
from services.ingress.clients.relay import RelayClient
from services.ingress.listener import Listeners, usable_connections
from services.ingress.metrics import Metrics, MetricsCollector
from services.ingress.services import Services
from services.ingress.session import Listener
from services.ingress.settings import Settings
from services.ingress.tls import Certificates, TlsOptions, self_signed

log = structlog.get_logger(__name__)


async def serve(settings: Settings, shutdown: Shutdown, number: int) -> None:
    """Runs worker `number` (from 0) until shutdown is requested and its sessions are gone."""
    metrics = Metrics()
    certificates = _certificates(settings, metrics)
    tls = settings.grpc_tls
    policy = PolicyClient(rpc.targets(settings.policy_target), tls, metrics, deadline=settings.policy_seconds)
    relay = RelayClient(rpc.targets(settings.relay_target), tls, metrics, deadline=settings.relay_seconds)
    checker = CheckRunner(
        settings.nameservers,
        metrics,
        crypto_threads=settings.crypto_threads,
        clamd_concurrency=settings.clamd_concurrency,
    )
    services = Services(
        policy=policy,
        relay=relay,
        certificates=certificates,
        checker=checker,
        limits=limits.of(settings),
        metrics=metrics,
        spool=_spool(settings),
    )
    listeners = Listeners(
        services,
        max_connections=usable_connections(max(1, settings.max_connections // settings.workers)),
        max_per_client=settings.max_connections_per_client,
        proxy_networks=settings.proxy_networks,
    )
    REGISTRY.register(MetricsCollector(metrics, listeners.open_sessions))
    exposition = MetricsServer(
        lambda: {
            "policy": "" if policy.connected else "unreachable",
            "relay": "" if relay.connected else "unreachable",
        }
    )
    background = Background(shutdown)
    background.start(policy.run(), "policy_stream")
    background.start(relay.run(), "relay_stream")
    background.start(certificates.watch(), "certificates")
    background.start(listeners.watch(_sweep_seconds(settings)), "deadlines")
    if number > 0 or settings.workers > 1:
        _end_with_supervisor(shutdown)
    try:
        await exposition.start(settings.host, settings.metrics_port and settings.metrics_port + number)
        await _listen(listeners, settings)
        _calm_collector()
        log.info("listening", worker=number, ports={kind.label: port for kind, port in listeners.ports.items()})
        await shutdown.wait()
        await listeners.drain(settings.drain_seconds)
    finally:
        await background.stop()
        await exposition.stop()
        checker.close()
    if background.failure is not None:
        raise StartupError("a background task died")


def _certificates(settings: Settings, metrics: Metrics) -> Certificates:
    pairs = settings.certificate_files
    if not pairs:
        folder = settings.data_dir / "tls"
        pairs = (self_signed(folder, "localhost", datetime.datetime.now(datetime.UTC)),)
    options = TlsOptions(
        minimum=settings.tls_min_version,
        ciphers=settings.tls_ciphers,
        session_tickets=settings.tls_session_tickets,
    )
    return Certificates(pairs, options, metrics)


async def _listen(listeners: Listeners, settings: Settings) -> None:
    ports = {
        Listener.SMTP: settings.smtp_port,
        Listener.SUBMISSION: settings.submission_port,
        Listener.SUBMISSIONS: settings.smtps_port,
    }
    if not any(ports.values()):
        raise StartupError("every port is off")
    for kind, port in ports.items():
        if port:
            await listeners.listen(kind, settings.host, port, shared=settings.workers > 1)


def _spool(settings: Settings) -> Path:
    folder = settings.data_dir / "spool"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartupError(f"can't make {folder}: {error.strerror}") from error
    return folder


def _calm_collector() -> None:
    """What was loaded so far stays for good: the cyclic collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _sweep_seconds(settings: Settings) -> float:
    """Often enough for the shortest time-out to be kept within a quarter."""
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
    """The supervisor holds the other end of our standard input: when it dies, however it dies, so do we."""
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _supervisor_gone, shutdown)


def _supervisor_gone(shutdown: Shutdown) -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    shutdown.request("supervisor gone")
