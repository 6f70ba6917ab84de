"""`python -m services.policy`: reads the settings, connects the parts, and serves until it is told to stop."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from pathlib import Path

import grpc
import structlog
import typer

from libs.dns.servers import server_list
from libs.runtime import rpc, service_manager, tracing
from libs.runtime.certificates import show_expiry
from libs.runtime.configuration_watch import replica_name
from libs.runtime.dialing import Dialers
from libs.runtime.lifecycle import Background, Shutdown, StartupError, run
from libs.runtime.metrics import MetricsServer
from libs.runtime.settings import begin
from services.policy.blocked_clients import keep_count
from services.policy.clients import HitReporter, PasswordUpgrader, Watch, configuration_watch
from services.policy.credentials import CredentialChecker
from services.policy.engine import Engine
from services.policy.explain import Explainer
from services.policy.failures import FailureLimits
from services.policy.history import History
from services.policy.hits import HitCounts
from services.policy.lookups.resolver import Resolver
from services.policy.lookups.service import Lookups
from services.policy.machine_checks import checks as machine_checks
from services.policy.metrics import CERTIFICATE_EXPIRY, GRPC_CALLS_REFUSED, DecisionCounts
from services.policy.password_upgrades import PasswordUpgrades
from services.policy.rules.model import Snapshot
from services.policy.servicer import CALLERS, CHECKS_CALLERS, CHECKS_SERVICE, SERVICE, PolicyServicer, register_checks
from services.policy.settings import Settings
from services.policy.state.block_file import BlockFile
from services.policy.state.memory import MemoryStore
from services.policy.state.redis import RedisStore
from services.policy.state.store import Store
from services.policy.verdict_log import VerdictLog

log = structlog.get_logger(__name__)

_GRACE_SECONDS = 5.0
# Garbage collection is rare, because decisions create no reference cycles, and each collection would walk through all
# decisions that are stored for Explain.
_GC_THRESHOLDS = (50_000, 20, 50)
_FREEZE_SECONDS = 600.0


async def main(shutdown: Shutdown) -> None:
    settings = begin(Settings)
    tracing.configure("policy")
    try:
        resolver = Resolver(server_list(settings.nameservers), seconds=settings.lookup_seconds)
    except ValueError as error:
        raise StartupError(f"POLICY_NAMESERVERS: {error}") from error
    lookups = Lookups(resolver, seconds=settings.lookup_seconds)
    upgrades = PasswordUpgrades()
    private_folder(settings.folder)
    blocks = BlockFile(settings.folder / "blocked-clients")
    store = open_store(settings.state_url, settings.state_seconds, blocks)
    credentials = CredentialChecker(FailureLimits(store), upgrades)
    hits = HitCounts()
    counts = DecisionCounts()
    forget_counts = counts.register()
    verdicts = VerdictLog()
    engine = Engine(store, lookups, credentials, counts, verdicts, History(settings.kept_sessions), hits)

    gc.set_threshold(*_GC_THRESHOLDS)
    dialers = Dialers("config_api", settings.grpc_targets, settings.security)
    name = replica_name("policy", settings.grpc_address)
    watch = configuration_watch(dialers, settings.kept_snapshot, name, settings.config_wait_seconds)
    watch.on_revision.append(engine.use)
    watch.on_change.append(_Freezing().freeze)
    reporter = HitReporter(dialers, hits)
    upgrader = PasswordUpgrader(dialers, upgrades)
    servicer = PolicyServicer(engine, Explainer(engine))
    checks = machine_checks(
        settings, resolver, lookups, lambda: engine.rulebook.snapshot if engine.rulebook is not None else None
    )

    def register(server: grpc.aio.Server) -> None:
        servicer.register(server)
        register_checks(server, checks)

    callers = {SERVICE: CALLERS, CHECKS_SERVICE: CHECKS_CALLERS}
    server = rpc.Server(callers, register, GRPC_CALLS_REFUSED.inc, revision=lambda: watch.revision)

    def readiness() -> Mapping[str, str]:
        snapshot = "" if watch.current is not None else "no configuration yet"
        return {"snapshot": snapshot, "redis": store.unavailable_reason, **settings.grpc_weakness}

    # Policy works without Redis. Only the rules whose counters are there are skipped.
    metrics = MetricsServer(readiness, optional=("redis", "grpc"))
    background = Background(shutdown)
    await store.start()
    await watch.restore()
    if settings.security.tls is not None:
        show_expiry(CERTIFICATE_EXPIRY, settings.security.tls.certificate)
    listening = await server.start(str(settings.grpc_address), settings.security)
    await metrics.start(settings.metrics_host, settings.metrics_port)
    background.start(watch.run(), "configuration watch")
    background.start(reporter.run(), "hit reports")
    background.start(upgrader.run(), "password upgrades")
    background.start(_serve_when_configured(server, watch), "readiness")
    background.start(engine.workers.run(), "life of workers")
    background.start(keep_count(engine), "count of blocked clients")
    background.start(checks.run(), "checks")
    log.info("ready", listen=listening)

    await shutdown.wait()
    await server.stop(_GRACE_SECONDS)
    await background.stop()
    await reporter.report()
    await lookups.close()
    await store.stop()
    await metrics.stop()
    await dialers.close()
    credentials.close()
    forget_counts()
    log.info("stopped")
    if background.failure is not None:
        raise StartupError(f"policy stopped by a fault: {background.failure}")


class _Freezing:
    """Excludes the tables of a snapshot from garbage collection. They may have 100,000 accounts and rules, and contain
    no reference cycles. Reference cycles that exist at the time of an exclusion are never freed, so there is at most
    one exclusion in ten minutes.
    """

    def __init__(self) -> None:
        self._frozen_at = float("-inf")

    def freeze(self, _: Snapshot) -> None:
        now = time.monotonic()
        if now - self._frozen_at > _FREEZE_SECONDS:
            self._frozen_at = now
            gc.freeze()


async def _serve_when_configured(server: rpc.Server, watch: Watch) -> None:
    await watch.configured()
    await server.serving(True)
    service_manager.tell_ready()


def open_store(url: str, seconds: float = 1.0, blocks: BlockFile | None = None) -> Store:
    """Makes the store of counters for a URL (memory:// or redis://). `seconds` is the time limit of a call of Redis.
    `blocks` is the file of blocked clients, which the store in memory uses.
    """
    return MemoryStore(blocks) if url == "memory://" else RedisStore(url, seconds=seconds)


def private_folder(folder: Path) -> None:
    """Makes the folder readable for its owner only, because it contains the hashes of passwords."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        # The folder is needed only after a restart, so mail flows without it.
        log.error("folder_not_private", path=str(folder), reason=error.strerror)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def serve() -> None:
    """Decide on sessions and messages."""
    run(main)


if __name__ == "__main__":
    app()
