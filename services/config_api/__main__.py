"""Starts config_api: the database, HTTP and gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog
import typer
from sqlalchemy.exc import SQLAlchemyError

from libs.runtime import addresses, lifecycle, rpc, service_manager
from libs.runtime.addresses import UnixSocket
from libs.runtime.certificates import show_expiry
from libs.runtime.configuration_watch import replica_name
from libs.runtime.dialing import Dialers
from libs.runtime.http_connections import ConnectionGuard
from libs.runtime.http_server import HttpServer
from libs.runtime.https_certificate import Certificate
from libs.runtime.lifecycle import Background, Shutdown, StartupError, wait_for_server
from libs.runtime.metrics import MetricsServer
from libs.runtime.settings import begin
from libs.smtp.network import counter_key
from services.config_api.app import create_app, describe_app
from services.config_api.changes import first_run
from services.config_api.changes.check_context import StoredCheckContext, read_machine
from services.config_api.changes.editor import Editor
from services.config_api.changes.key_rotation import rotate
from services.config_api.changes.standing_warnings import log_standing_warnings
from services.config_api.clients import IngressClient, Neighbours, PolicyClient, RelayClient
from services.config_api.events.dispatcher import Dispatcher
from services.config_api.events.hub import EventHub, feed_of
from services.config_api.events.sending import Sender
from services.config_api.history.revisions.repository import RevisionRetention
from services.config_api.http import openapi
from services.config_api.http.authentication import Access, FailureLimit
from services.config_api.http.context import AppContext
from services.config_api.metrics import CERTIFICATE_EXPIRY, DATABASE_UP, GRPC_CALLS_REFUSED, REVISION
from services.config_api.operations.checks import own
from services.config_api.secrets.passwords import PasswordHashing
from services.config_api.secrets.sealing import Sealer, SealError, load_sealer
from services.config_api.secrets.stored_secrets import SecretFields
from services.config_api.settings import Settings
from services.config_api.snapshot import publisher
from services.config_api.snapshot.configuration_cache import ConfigurationCache, CurrentSnapshots
from services.config_api.snapshot.in_force import Watcher, Watchers
from services.config_api.snapshot.sharing import Sharing
from services.config_api.storage.audit_log import AuditLog
from services.config_api.storage.database import Database
from services.config_api.storage.documents import Store
from services.config_api.storage.identifiers import now_us
from services.config_api.storage.replicas import ReplicaRow, ReplicaTable
from services.config_api.storage.usage_counters import HitStore

log = structlog.get_logger(__name__)
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_GRACE_SECONDS = 5.0
_HOUSEKEEPING_SECONDS = 10.0
_FORGET_EVERY = 360
_DAY_US = 24 * 3600 * 1_000_000


async def main(shutdown: Shutdown) -> None:
    settings = begin(Settings)
    await run(settings, shutdown, _announce)


Announce = Callable[[int, str], None]


def _announce(http_port: int, grpc: str) -> None:
    log.info("ready", http_port=http_port, grpc=grpc)
    service_manager.tell_ready()


async def run(settings: Settings, shutdown: Shutdown, announce: Announce) -> None:
    """Runs the whole service until shutdown. `announce` is called with the HTTP port and the gRPC address as soon as
    both servers are ready.
    """
    sealer = load_sealer(settings.secret_key.get_secret_value(), settings.data_dir)
    wake = asyncio.Event()
    async with _opened(Database(settings.url), shutdown) as database:
        store = Store(database, on_change=wake.set)
        await first_run.prepare(store, sealer, settings.data_dir, settings.admin_key.get_secret_value())
        await _serve(settings, store, sealer, wake, shutdown, announce)


async def _serve(
    settings: Settings, store: Store, sealer: Sealer, wake: asyncio.Event, shutdown: Shutdown, announce: Announce
) -> None:
    snapshots = CurrentSnapshots(ConfigurationCache(store, sealer))
    try:
        await snapshots.cache.load()
    except SealError as error:
        raise StartupError(f"stored secrets cannot be decrypted: {error}") from error
    snapshots.refresh()
    # The configuration stays in memory. With 100,000 accounts, a garbage collection that includes it stops the event
    # loop for 0.15 s.
    gc.freeze()
    hits = HitStore(store.database)
    passwords = PasswordHashing()
    background = Background(shutdown)
    ready = _Ready(settings.grpc_weakness)
    async with contextlib.AsyncExitStack() as dialers:
        others = {
            service: await dialers.enter_async_context(Dialers(service, targets, settings.security))
            for service, targets in (
                ("policy", settings.policy_targets),
                ("relay", settings.relay_targets),
                ("ingress", settings.ingress_targets),
            )
        }
        relay = RelayClient(others["relay"])
        sender = Sender(_check_context_for(settings, store)("").addresses, settings.webhooks)
        dialers.push_async_callback(sender.close)
        events = feed_of(relay)
        hub = EventHub(relay, events, Dispatcher(store, sealer, events, sender, lambda: snapshots.cache.webhooks))
        context = _context(settings, store, sealer, snapshots, passwords, others, ready, hub)
        http = _http_server(settings, create_app(settings, context))
        callers = {publisher.SERVICE: publisher.CALLERS}
        publishing = publisher.Publisher(snapshots, context.watchers, hits, store)
        grpc_server = rpc.Server(callers, publishing.register, GRPC_CALLS_REFUSED.inc)
        metrics = MetricsServer(ready.report, optional=("grpc",))
        if settings.security.tls is not None:
            show_expiry(CERTIFICATE_EXPIRY, settings.security.tls.certificate)
        listening = await grpc_server.start(str(settings.grpc_address), settings.security)
        await metrics.start(settings.metrics_host, settings.metrics_port)
        background.start(http.run(), "http")
        background.start(_warn(context), "warnings")
        background.start(context.own_checks.run(), "checks")
        background.start(publisher.follow(snapshots, wake, ready.database_is), "follow")
        retention = Retention(
            settings.revision_days, settings.audit_days, RevisionRetention(store.database), context.audit
        )
        background.start(_remove_old_records(snapshots, hits, context.access, retention), "housekeeping")
        if context.sharing is not None:
            background.start(context.sharing.run(), "sharing")
        background.start(events.run(), "events")
        background.start(hub.dispatcher.run(), "webhooks")
        await grpc_server.serving(True)
        ready.serving = True
        announce(http.port, listening)
        await shutdown.wait()
        ready.serving = False
        snapshots.close()
        events.close()
        await http.stop()
        await grpc_server.stop(_GRACE_SECONDS)
        await background.stop()
        with contextlib.suppress(SQLAlchemyError, OSError):
            if not await lifecycle.at_most(_GRACE_SECONDS, hits.record_uses(context.access.uses)):
                log.warning("key_uses_not_stored")
        if context.sharing is not None:
            await lifecycle.at_most(_GRACE_SECONDS, context.sharing.leave())
        await metrics.stop()
        passwords.close()
    if background.failure is not None:
        raise StartupError(f"stopped by a fault: {type(background.failure).__name__}")


def _context(
    settings: Settings,
    store: Store,
    sealer: Sealer,
    snapshots: CurrentSnapshots,
    passwords: PasswordHashing,
    others: Mapping[str, Dialers],
    ready: _Ready,
    events: EventHub,
) -> AppContext:
    check_context_for = _check_context_for(settings, store)
    watchers = Watchers(_expected(settings))
    neighbours = Neighbours(str(settings.grpc_address), settings.security, others)
    return AppContext(
        store=store,
        editor=Editor(
            store,
            SecretFields(sealer, passwords),
            check_context_for,
            environment_key=bool(settings.admin_key.get_secret_value()),
        ),
        access=Access(
            snapshots.cache,
            store,
            settings.admin_key.get_secret_value(),
            failures=FailureLimit(settings.failed_keys_per_minute),
            recorded=FailureLimit(settings.failed_keys_per_minute),
        ),
        audit=AuditLog(store.database, store.identifiers),
        snapshots=snapshots,
        watchers=watchers,
        sharing=_sharing(store, snapshots, watchers, neighbours),
        policy=PolicyClient(others["policy"]),
        relay=events.relay,
        neighbours=neighbours,
        check_context_for=check_context_for,
        readiness=ready.report,
        own_checks=own.checks(settings, store, check_context_for),
        events=events,
        ingress=IngressClient(others["ingress"]),
        console_url=settings.console_url,
    )


def _check_context_for(settings: Settings, store: Store) -> Callable[[str], StoredCheckContext]:
    machine = read_machine(settings.ingress_ports, settings.maildirs, settings.webhooks)

    def check_context_for(document_id: str) -> StoredCheckContext:
        return StoredCheckContext(store, machine, settings.name_servers, document_id)

    return check_context_for


def _expected(settings: Settings) -> Iterator[Watcher]:
    """Yields the replicas of policy and relay on Unix sockets of this machine. Their names follow from the sockets."""
    for service, targets in (("policy", settings.policy_targets), ("relay", settings.relay_targets)):
        for target in targets:
            if isinstance(address := addresses.parse(target), UnixSocket):
                yield Watcher(replica_name(service, address), service)


def _sharing(store: Store, snapshots: CurrentSnapshots, watchers: Watchers, neighbours: Neighbours) -> Sharing | None:
    if store.database.is_sqlite:
        return None
    # This name is unique over machines and restarts.
    holder = f"{socket.gethostname()}:{secrets.token_hex(8)}"

    def own() -> ReplicaRow:
        neighbour = neighbours.own(snapshots.cache.revision)
        return ReplicaRow(
            neighbour.service,
            "config_api",
            holder,
            snapshots.cache.revision,
            neighbour.address,
            neighbour.transport,
            neighbour.version or "",
        )

    return Sharing(ReplicaTable(store.database, holder), watchers, own)


class _Ready:
    """The state that /readyz reports."""

    def __init__(self, weakness: Mapping[str, str]) -> None:
        """`weakness` has warnings that /readyz also reports, although the service works."""
        self.serving = False
        self._database = ""
        self._weakness = weakness

    def database_is(self, error: str) -> None:
        """Stores the error of the database. The empty text means that the database answers."""
        self._database = error
        DATABASE_UP.set(not error)

    def report(self) -> dict[str, str]:
        start = "" if self.serving else "starting or stopping"
        return {"start": start, "database": self._database, **self._weakness}


def _http_server(settings: Settings, api: object) -> HttpServer:
    """Makes the HTTP server, with deadlines and a limit of connections for each client."""
    guard = ConnectionGuard(settings.max_connections_per_client, settings.proxies, counter_key)
    certificate = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_cert, settings.tls_key)
        show_expiry(CERTIFICATE_EXPIRY, settings.tls_cert)
    return HttpServer(
        api, settings.host, settings.port, certificate=certificate, protocol=guard.protocol, besides=guard.run
    )


async def _warn(context: AppContext) -> None:
    """Logs the standing warnings. An outage of the database is ignored here, because the publisher reports it."""
    with contextlib.suppress(SQLAlchemyError, OSError):
        await log_standing_warnings(context.store, context.check_context_for)


@dataclass(frozen=True, slots=True)
class Retention:
    """Removes old revisions and old entries of the audit log. 0 days means that they are never removed."""

    revision_days: int
    audit_days: int
    revisions: RevisionRetention
    audit: AuditLog

    async def forget_old(self) -> None:
        for name, days, forget in (
            ("revisions", self.revision_days, self.revisions.forget),
            ("audit_log", self.audit_days, self.audit.forget),
        ):
            if days and (count := await forget(now_us() - days * _DAY_US)):
                log.info("history_dropped", what=name, count=count, days=days)


async def _remove_old_records(
    snapshots: CurrentSnapshots, hits: HitStore, access: Access, retention: Retention
) -> None:
    """Stores the last uses of API keys, and removes old records."""
    rounds = 0
    while True:
        REVISION.set(snapshots.cache.revision)
        # An outage of the database is ignored here, because the publisher reports it.
        with contextlib.suppress(SQLAlchemyError, OSError):
            uses = dict(access.uses)
            access.uses.clear()
            await hits.record_uses(uses)
            if rounds % _FORGET_EVERY == 0:
                await hits.forget_old()
                await retention.forget_old()
        rounds += 1
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)


@contextlib.asynccontextmanager
async def _opened(database: Database, shutdown: Shutdown) -> AsyncIterator[Database]:
    try:
        await wait_for_server(database.open, shutdown)
        yield database
    finally:
        await database.close()


async def _rotate(_: Shutdown) -> None:
    count = await rotate(begin(Settings))
    sys.stdout.write(f"{count} secrets are encrypted under the new key\n")


async def _migrate(shutdown: Shutdown) -> None:
    async with _opened(Database(begin(Settings).url), shutdown):
        log.info("database_is_current")


@app.callback(invoke_without_command=True)
def serve(context: typer.Context) -> None:
    """Serve the API and store the settings."""
    if context.invoked_subcommand is None:
        lifecycle.run(main)


@app.command()
def migrate() -> None:
    """Bring the schema of the database up to date, and exit."""
    lifecycle.run(_migrate)


@app.command()
def rotate_secret_key() -> None:
    """Encrypt all stored secrets under a new key."""
    lifecycle.run(_rotate)


@app.command("openapi")
def show_openapi() -> None:
    """Print the OpenAPI document."""
    sys.stdout.write(openapi.text(describe_app()))


if __name__ == "__main__":
    app()
