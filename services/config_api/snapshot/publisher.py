"""Serves config.v1.Configuration: the watches of policy and relay, and policy's reports about hits of rules and about
new password hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import structlog
from posthouse.config.v1 import config_pb2 as pb
from sqlalchemy.exc import SQLAlchemyError

from libs.runtime.passwords import canonical_hash, is_outdated
from services.config_api.metrics import WATCHERS
from services.config_api.resources.accounts import ACCOUNTS
from services.config_api.snapshot.configuration_cache import ConfigurationCache, ConsumerSnapshot, CurrentSnapshots
from services.config_api.snapshot.in_force import Watcher, Watchers
from services.config_api.storage.documents import Document, Store, find_all
from services.config_api.storage.revision import Actor, Write
from services.config_api.storage.usage_counters import Hits, HitStore

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Configuration"].full_name
# The services that may call each method.
CALLERS = {
    "WatchPolicy": {"policy"},
    "WatchRelay": {"relay"},
    "ReportRuleHits": {"policy"},
    "UpgradePasswordHashes": {"policy"},
}
# The interval in seconds at which the database is read, to find changes that other replicas made. Changes of this
# process are published without waiting for a read. PostgreSQL could send notifications of changes. But a notification
# is lost when its connection is lost, and a pooler such as PgBouncer may not pass it on, so these reads would be needed
# anyway. A read fetches one row by its key, and also detects an outage of the database.
POLL_SECONDS = 0.25
# The shortest time between two publications. A publication takes config_api and each consumer some milliseconds, and
# hardly longer when it has several revisions.
_PUBLISH_SECONDS = 0.02
# The longest time for which the next revision waits until the consumer has put the last one in force. The wait has a
# limit, because a consumer may refuse a revision.
_TAKING_SECONDS = 0.2
# When the database has not answered for this time, an outage is reported.
_ANSWER_SECONDS = 2.0
_LONGEST_REPORT_ID = 128
_LARGEST_REPORT = 200_000
_MOST_UPGRADES = 1_000
_LONGEST_PROOF = 64

# The longest name of a replica. Longer names are cut.
_LONGEST_NAME = 100

# The context of a watch. The messages that are sent are octets, because they are already serialised.
Stream = grpc.aio.ServicerContext[pb.WatchRequest, bytes]
Requests = AsyncIterator[pb.WatchRequest]


class Publisher:
    """Answers the calls of policy and relay. It sends parts of snapshots as octets, which are serialised only once."""

    def __init__(self, snapshots: CurrentSnapshots, watchers: Watchers, hits: HitStore, store: Store) -> None:
        self._snapshots = snapshots
        self._watchers = watchers
        self._hits = hits
        self._store = store

    def register(self, server: grpc.aio.Server) -> None:
        """Registers the methods. The generated function is not used, because it would serialise each part again for
        each watch.
        """
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "WatchPolicy": grpc.stream_stream_rpc_method_handler(
                self._watch_policy, request_deserializer=pb.WatchRequest.FromString
            ),
            "WatchRelay": grpc.stream_stream_rpc_method_handler(
                self._watch_relay, request_deserializer=pb.WatchRequest.FromString
            ),
            "ReportRuleHits": grpc.unary_unary_rpc_method_handler(
                self._report_rule_hits,
                request_deserializer=pb.ReportRuleHitsRequest.FromString,
                response_serializer=pb.ReportRuleHitsResponse.SerializeToString,
            ),
            "UpgradePasswordHashes": grpc.unary_unary_rpc_method_handler(
                self._upgrade_password_hashes,
                request_deserializer=pb.UpgradePasswordHashesRequest.FromString,
                response_serializer=pb.UpgradePasswordHashesResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def _watch_policy(self, requests: Requests, context: Stream) -> None:
        await self._watch(requests, context, "policy", self._snapshots.cache.of_policy)

    async def _watch_relay(self, requests: Requests, context: Stream) -> None:
        await self._watch(requests, context, "relay", self._snapshots.cache.of_relay)

    async def _watch(
        self, requests: Requests, context: Stream, service: str, consumer_snapshot: ConsumerSnapshot
    ) -> None:
        # The metadata is sent at once, so that the consumer knows that it is connected, even if the first part comes
        # later.
        await context.send_initial_metadata(())
        first = await anext(requests, None)
        if first is None:
            return
        watcher = Watcher(first.consumer[:_LONGEST_NAME] or service, service, first.revision_in_force)
        self._watchers.add(watcher)
        log.info("watch_opened", consumer=service, process=watcher.name)
        WATCHERS.labels(service).inc()
        listening = asyncio.create_task(self._listen(requests, watcher))
        sending = asyncio.create_task(self._send(context, watcher, consumer_snapshot, first.digest))
        try:
            await asyncio.wait((listening, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, sending):
                task.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)
            self._watchers.remove(watcher)
            log.info("watch_ended", consumer=service, process=watcher.name, left=watcher.has_left)
            WATCHERS.labels(service).dec()

    async def _listen(self, requests: Requests, watcher: Watcher) -> None:
        """Reads the consumer's reports about its revision in force, until the consumer leaves or disconnects."""
        async for request in requests:
            if request.leaving:
                watcher.has_left = True
                return
            self._watchers.advance(watcher, request.revision_in_force)

    async def _send(
        self, context: Stream, watcher: Watcher, consumer_snapshot: ConsumerSnapshot, digest: bytes
    ) -> None:
        while not self._snapshots.closed:
            parts = consumer_snapshot.parts_after(digest)
            digest, revision = consumer_snapshot.digest, consumer_snapshot.revision
            for part in parts:
                await context.write(part)
            log.info("revision_sent", process=watcher.name, revision=revision, parts=len(parts))
            # While the consumer puts this revision in force, further revisions may be published. They are then sent
            # together, which costs the consumer little more than one revision.
            await watcher.reached(revision, _TAKING_SECONDS)
            await self._snapshots.newer(consumer_snapshot, digest, revision)

    async def _report_rule_hits(
        self, request: pb.ReportRuleHitsRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.ReportRuleHitsResponse:
        if not 0 < len(request.report_id) <= _LONGEST_REPORT_ID or len(request.hits) > _LARGEST_REPORT:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "report_id or the number of hits is out of bounds")
        hits = [Hits(entry.rule_id, entry.hits, entry.last_hit_at.ToMicroseconds() or None) for entry in request.hits]
        try:
            await self._hits.add(request.report_id, hits)
        except (SQLAlchemyError, OSError) as error:
            log.warning("rule_hits_not_stored", error=type(error).__name__)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the database cannot be written")
        return pb.ReportRuleHitsResponse()

    async def _upgrade_password_hashes(
        self, request: pb.UpgradePasswordHashesRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.UpgradePasswordHashesResponse:
        upgrades = {upgrade.account_id: upgrade for upgrade in request.upgrades}
        if len(upgrades) > _MOST_UPGRADES or not all(map(_is_good, upgrades.values())):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "too many upgrades, or a hash that is not argon2id")
        try:
            async with self._store.revision(Actor("posthouse", "admin"), "upgradePasswordHashes") as revision:
                accounts = await find_all(revision.connection, ACCOUNTS.kind, sorted(upgrades))
                writes = [write for account in accounts if (write := _upgraded(account, upgrades[account.id]))]
                await revision.apply(writes)
                revision.target = ACCOUNTS.kind
                revision.summary = f"{len(writes)} password hashes became argon2id"
        except (SQLAlchemyError, OSError) as error:
            log.warning("password_hashes_not_stored", error=type(error).__name__)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the database cannot be written")
        return pb.UpgradePasswordHashesResponse()


def _is_good(upgrade: pb.PasswordUpgrade) -> bool:
    with contextlib.suppress(ValueError):
        return not is_outdated(canonical_hash(upgrade.new_hash)) and len(upgrade.proof) <= _LONGEST_PROOF
    return False


def _upgraded(account: Document, upgrade: pb.PasswordUpgrade) -> Write | None:
    """Returns the write of a new hash. Returns None when the stored hash is not the old hash of the upgrade, because
    the account has a new password.
    """
    if str(account.stored.get("password", "")).partition(" ")[0] != upgrade.old_hash:
        return None
    password = f"{upgrade.new_hash} {upgrade.proof.hex()}"
    return Write(ACCOUNTS, account.id, account.stored, {**account.stored, "password": password})


async def follow(snapshots: CurrentSnapshots, wake: asyncio.Event, on_database: Callable[[str], None]) -> None:
    """Publishes each new revision in the database until it is cancelled. It continues after an outage of the database.

    `on_database` is called after each read with the error of the database, or with the empty text.
    """
    loop = asyncio.get_running_loop()
    ailing = False
    published_at = float("-inf")
    while True:
        wake.clear()
        try:
            if await _catch_up(snapshots.cache, on_database):
                snapshots.refresh()
                published_at = loop.time()
            if ailing:
                log.info("database_available")
            ailing = False
            on_database("")
        except (SQLAlchemyError, OSError) as error:
            on_database(f"does not answer ({type(error).__name__})")
            if not ailing:
                log.warning("database_unavailable", error=type(error).__name__)
            ailing = True
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await wake.wait()
        except TimeoutError:
            pass
        await asyncio.sleep(published_at + _PUBLISH_SECONDS - loop.time())


async def _catch_up(cache: ConfigurationCache, on_database: Callable[[str], None]) -> bool:
    """Reads new revisions. Returns whether there were any, and reports a database that does not answer in time."""
    answered = asyncio.Event()
    reading = asyncio.ensure_future(cache.catch_up(answered.set))
    first_answer = asyncio.ensure_future(answered.wait())
    try:
        waited_for = {reading, first_answer}
        if not (await asyncio.wait(waited_for, timeout=_ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
            # The query is not cancelled here, because a cancellation would also wait for the server that does not
            # answer.
            on_database("the database does not answer in time")
        return await reading
    finally:
        # The caller may be cancelled while the query runs. The query must end before the database is closed.
        first_answer.cancel()
        reading.cancel()
        await asyncio.wait({reading}, timeout=_ANSWER_SECONDS)
