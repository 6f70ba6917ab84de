"""The gRPC clients of config_api: the watch that brings each new configuration, and the reports of rule hits."""

from __future__ import annotations

import asyncio
import uuid
from typing import TypeAlias

import grpc
import structlog
from posthouse.config.v1 import config_pb2, config_pb2_grpc

from libs.runtime import rpc
from libs.runtime.configuration_watch import ConfigurationWatch, SnapshotSource
from libs.runtime.dialing import Dialers, NoReplicaError
from libs.runtime.lifecycle import StartupError
from libs.runtime.sealed_file import SealedFile
from services.policy.hits import HitCounts
from services.policy.metrics import HITS_UNREPORTED, SNAPSHOT
from services.policy.rules.model import Snapshot
from services.policy.snapshot import compile_snapshot
from services.policy.wire import timestamp

log = structlog.get_logger(__name__)

Watch: TypeAlias = ConfigurationWatch[config_pb2.PolicySnapshotPart, Snapshot]
_Call: TypeAlias = grpc.aio.UnaryStreamCall[config_pb2.WatchRequest, config_pb2.PolicySnapshotPart]

_REPORT_SECONDS = 1.5
_REPORT_DEADLINE = 10.0
# Rules in one report.
_REPORT_RULES = 20_000


def configuration_watch(dialers: Dialers, file: SealedFile) -> Watch:
    """The watch of this process, which keeps the last good configuration, with its password hashes, in `file`."""
    source = SnapshotSource("policy", config_pb2.PolicySnapshotPart, _open, compile_snapshot)
    return ConfigurationWatch(source, dialers, file, SNAPSHOT)


def _open(channel: grpc.aio.Channel, digest: bytes, consumer: str) -> _Call:
    request = config_pb2.WatchRequest(digest=digest, consumer=consumer)
    return config_pb2_grpc.ConfigurationStub(channel).WatchPolicy(request)


class HitReporter:
    """Reports rule hits every second or two; what could not be reported is reported again under the same id."""

    def __init__(self, dialers: Dialers, hits: HitCounts) -> None:
        self._dialers = dialers
        self._hits = hits
        self._unsent: list[config_pb2.ReportRuleHitsRequest] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            await self.report()

    async def report(self) -> None:
        """Sends what gathered."""
        if not self._unsent and self._hits:
            self._unsent = _reports(self._hits)
        if self._unsent:
            await self._send()
        HITS_UNREPORTED.set(len(self._hits) + sum(len(report.hits) for report in self._unsent))

    async def _send(self) -> None:
        try:
            dialer = await self._dialers.first()
        except NoReplicaError:
            log.warning("rule_hits_unreported", reason="no address", reports=len(self._unsent))
            return
        try:
            while self._unsent:
                stub = config_pb2_grpc.ConfigurationStub(dialer.channel())
                await stub.ReportRuleHits(self._unsent[0], timeout=_REPORT_DEADLINE)
                del self._unsent[0]
        except (grpc.aio.AioRpcError, StartupError) as error:
            self._dialers.failed(dialer)
            reason = rpc.caught(error) if isinstance(error, grpc.aio.AioRpcError) else str(error)
            log.warning("rule_hits_unreported", reason=reason, reports=len(self._unsent))


def _reports(hits: HitCounts) -> list[config_pb2.ReportRuleHitsRequest]:
    taken = list(hits.take().items())
    return [
        config_pb2.ReportRuleHitsRequest(
            report_id=uuid.uuid4().hex,
            hits=[
                config_pb2.RuleHits(rule_id=rule_id, hits=count, last_hit_at=timestamp(last))
                for rule_id, (count, last) in taken[start : start + _REPORT_RULES]
            ],
        )
        for start in range(0, len(taken), _REPORT_RULES)
    ]
