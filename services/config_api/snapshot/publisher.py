"""config.v1.Configuration: the watches of policy and relay, and policy's reports of rule hits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import structlog
from posthouse.config.v1 import config_pb2 as pb
from sqlalchemy.exc import SQLAlchemyError

from services.config_api.metrics import WATCHERS
from services.config_api.snapshot.feed import Feed, Replica
from services.config_api.storage.usage_counters import Hits, HitStore

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Configuration"].full_name
# Which services may call each method.
CALLERS = {"WatchPolicy": {"policy"}, "WatchRelay": {"relay"}, "ReportRuleHits": {"policy"}}
# A change made through another replica is looked for this often; one made here is published at once.
POLL_SECONDS = 0.25
# A database that is silent for so long is said to be lost.
_ANSWER_SECONDS = 2.0
_LONGEST_REPORT_ID = 128
_LARGEST_REPORT = 200_000

# What goes out is serialised already.
Stream = grpc.aio.ServicerContext[pb.WatchRequest, bytes]


class Publisher:
    """The servicer. Snapshot parts go out as the bytes that were serialised once."""

    def __init__(self, feed: Feed, hits: HitStore) -> None:
        self._feed = feed
        self._hits = hits

    def register(self, server: grpc.aio.Server) -> None:
        """Not by the generated function: it would serialise each part again for each watcher."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "WatchPolicy": grpc.unary_stream_rpc_method_handler(
                self._watch_policy, request_deserializer=pb.WatchRequest.FromString
            ),
            "WatchRelay": grpc.unary_stream_rpc_method_handler(
                self._watch_relay, request_deserializer=pb.WatchRequest.FromString
            ),
            "ReportRuleHits": grpc.unary_unary_rpc_method_handler(
                self._report_rule_hits,
                request_deserializer=pb.ReportRuleHitsRequest.FromString,
                response_serializer=pb.ReportRuleHitsResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def _watch_policy(self, request: pb.WatchRequest, context: Stream) -> None:
        await self._watch(request, context, of_policy=True)

    async def _watch_relay(self, request: pb.WatchRequest, context: Stream) -> None:
        await self._watch(request, context, of_policy=False)

    async def _watch(self, request: pb.WatchRequest, context: Stream, *, of_policy: bool) -> None:
        consumer = "policy" if of_policy else "relay"
        held = request.digest
        # A watcher that has the newest snapshot gets nothing for now, and must know all the same that it is connected.
        await context.send_initial_metadata(())
        log.info("watch_opened", consumer=consumer, process=request.consumer[:100])
        WATCHERS.labels(consumer).inc()
        try:
            while (snapshot := await self._feed.next(of_policy=of_policy, held=held)) is not None:
                for part in snapshot.parts:
                    await context.write(part)
                held = snapshot.digest
                log.info("snapshot_sent", consumer=consumer, process=request.consumer[:100], revision=snapshot.revision)
        except grpc.aio.InternalError:
            # It went while it was being sent to.
            log.info("watch_ended", consumer=consumer, process=request.consumer[:100])
        finally:
            WATCHERS.labels(consumer).dec()

    async def _report_rule_hits(
        self, request: pb.ReportRuleHitsRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.ReportRuleHitsResponse:
        if not 0 < len(request.report_id) <= _LONGEST_REPORT_ID or len(request.hits) > _LARGEST_REPORT:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "report_id or number of hits out of bounds")
        hits = [Hits(entry.rule_id, entry.hits, entry.last_hit_at.ToMicroseconds() or None) for entry in request.hits]
        try:
            await self._hits.add(request.report_id, hits)
        except (SQLAlchemyError, OSError) as error:
            log.warning("rule_hits_not_stored", error=type(error).__name__)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the database can't be written")
        return pb.ReportRuleHitsResponse()


async def follow(feed: Feed, wake: asyncio.Event, on_database: Callable[[str], None]) -> None:
    """Keeps the feed at the database's newest revision, for ever; an outage of the database is sat out.

    `on_database` is told after each look: what is wrong with the database, or nothing.
    """
    ailing = False
    while True:
        wake.clear()
        try:
            if await _behind(feed.replica, on_database) and await feed.replica.catch_up():
                feed.refresh()
            if ailing:
                log.info("database_back")
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


async def _behind(replica: Replica, on_database: Callable[[str], None]) -> bool:
    looking = asyncio.ensure_future(replica.behind())
    try:
        if not (await asyncio.wait({looking}, timeout=_ANSWER_SECONDS))[0]:
            # It is not broken off: that would wait for the same silent server.
            on_database("does not answer in time")
        return await looking
    finally:
        # The caller may be cancelled, and the look with it: it has to end before the database is closed.
        looking.cancel()
        await asyncio.wait({looking}, timeout=_ANSWER_SECONDS)
