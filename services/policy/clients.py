"""The gRPC clients of config_api: the watch for new configurations, and the reports of rule hits and of new password
hashes.
"""

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
from services.policy.password_upgrades import PasswordUpgrades
from services.policy.rules.model import Snapshot
from services.policy.snapshot import PolicySnapshotReader
from services.policy.wire import timestamp

log = structlog.get_logger(__name__)

Watch: TypeAlias = ConfigurationWatch[Snapshot]
_Call: TypeAlias = grpc.aio.StreamStreamCall[config_pb2.WatchRequest, config_pb2.SnapshotPart]

_REPORT_SECONDS = 1.5
_REPORT_DEADLINE = 10.0
# The largest number of rules in one report.
_REPORT_RULES = 20_000


def configuration_watch(dialers: Dialers, file: SealedFile, name: str, wait_seconds: float) -> Watch:
    """Makes the watch of the replica `name`, which stores the last good configuration, with its password hashes, in
    `file`.

    At the start the watch waits `wait_seconds` for config_api before it puts the stored configuration in force.
    """
    source = SnapshotSource("policy", _open, config_pb2.WatchRequest, config_pb2.SnapshotPart, PolicySnapshotReader)
    return ConfigurationWatch(source, dialers, file, SNAPSHOT, name, wait_seconds)


def _open(channel: grpc.aio.Channel) -> _Call:
    return config_pb2_grpc.ConfigurationStub(channel).WatchPolicy()


class HitReporter:
    """Reports rule hits every second or two. A report that fails is repeated with the same id."""

    def __init__(self, dialers: Dialers, hits: HitCounts) -> None:
        self._dialers = dialers
        self._hits = hits
        self._unsent: list[config_pb2.ReportRuleHitsRequest] = []

    async def run(self) -> None:
        """Reports hits until cancelled."""
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            await self.report()

    async def report(self) -> None:
        """Sends the reports that failed before. If there are none, it reports the hits that were counted since the last
        report.
        """
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


class PasswordUpgrader:
    """Sends new hashes of passwords to config_api. A hash that does not arrive is made again at the next login."""

    def __init__(self, dialers: Dialers, upgrades: PasswordUpgrades) -> None:
        self._dialers = dialers
        self._upgrades = upgrades

    async def run(self) -> None:
        """Sends new hashes until cancelled."""
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            await self.send()

    async def send(self) -> None:
        """Sends the new hashes since the last call."""
        upgrades = self._upgrades.take()
        if not upgrades:
            return
        request = config_pb2.UpgradePasswordHashesRequest(
            upgrades=[
                config_pb2.PasswordUpgrade(
                    account_id=upgrade.account.id,
                    old_hash=upgrade.account.password_hash,
                    new_hash=upgrade.new_hash,
                    proof=upgrade.account.proof,
                )
                for upgrade in upgrades
            ]
        )
        try:
            dialer = await self._dialers.first()
            stub = config_pb2_grpc.ConfigurationStub(dialer.channel())
            await stub.UpgradePasswordHashes(request, timeout=_REPORT_DEADLINE)
        except (NoReplicaError, grpc.aio.AioRpcError, StartupError) as error:
            reason = rpc.caught(error) if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
            log.warning("password_hashes_not_upgraded", reason=reason, accounts=len(upgrades))


def _reports(hits: HitCounts) -> list[config_pb2.ReportRuleHitsRequest]:
    counted_hits = list(hits.take().items())
    return [
        config_pb2.ReportRuleHitsRequest(
            report_id=uuid.uuid4().hex,
            hits=[
                config_pb2.RuleHits(rule_id=rule_id, hits=count, last_hit_at=timestamp(last))
                for rule_id, (count, last) in counted_hits[start : start + _REPORT_RULES]
            ],
        )
        for start in range(0, len(counted_hits), _REPORT_RULES)
    ]
