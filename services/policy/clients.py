"""The gRPC client of config_api: the watch that snapshots come by, and the reports of rule hits."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import uuid
from collections.abc import AsyncIterator, Callable

import grpc
import structlog
from google.protobuf.message import DecodeError
from posthouse.config.v1 import config_pb2, config_pb2_grpc

from libs.runtime import rpc
from libs.runtime.dialing import Dialers, NoReplicaError
from libs.runtime.lifecycle import StartupError
from libs.runtime.metrics import fingerprint
from libs.runtime.sealed_file import SealedFile, UnsealError
from services.policy.hits import HitCounts
from services.policy.metrics import CONFIGURATION_UP, HITS_UNREPORTED, SNAPSHOT_DIGEST, SNAPSHOT_ERRORS
from services.policy.rules.model import Snapshot
from services.policy.snapshot import compile_snapshot
from services.policy.wire import timestamp

log = structlog.get_logger(__name__)

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 3.0
_CONNECT_SECONDS = 5.0
_REPORT_SECONDS = 1.5
_REPORT_DEADLINE = 10.0
# Rules in one report.
_REPORT_RULES = 20_000


class SnapshotFile:
    """The last good snapshot on disk: what a process starts with while config_api is away. Holds password hashes."""

    def __init__(self, file: SealedFile) -> None:
        self._file = file

    def read(self) -> config_pb2.PolicySnapshotPart | None:
        """None when there is none that can be read."""
        try:
            part = config_pb2.PolicySnapshotPart.FromString(self._file.read())
            # An empty file reads as a snapshot in which everything is off.
            return part if part.last else None
        except FileNotFoundError:
            return None
        except (OSError, UnsealError, DecodeError) as error:
            log.error("kept_configuration_unusable", path=str(self._file.path), reason=type(error).__name__)
            return None

    def write(self, part: config_pb2.PolicySnapshotPart) -> None:
        try:
            self._file.write(part.SerializeToString())
        except OSError as error:
            # The snapshot is in force all the same; only a cold start would miss it.
            log.error("configuration_not_kept", path=str(self._file.path), reason=error.strerror)


class ConfigurationWatch:
    """Keeps the newest snapshot in force. A bad one is refused and counted, and the one before stays."""

    def __init__(
        self,
        dialers: Dialers,
        file: SnapshotFile,
        use: Callable[[Snapshot], None],
        ready: asyncio.Event,
    ) -> None:
        self._dialers = dialers
        self._file = file
        self._use = use
        self._ready = ready
        self._digest = b""
        self.connected = False

    async def start_from_file(self) -> None:
        """Takes the snapshot on disk, if there is one."""
        part = await asyncio.to_thread(self._file.read)
        if part is not None and await self._take(part):
            self._digest = part.digest
            log.info("configuration_restored", revision=part.snapshot.revision)

    async def run(self) -> None:
        """Watches until cancelled, and comes back after every break with a growing, jittered wait."""
        wait = _FIRST_WAIT
        while True:
            try:
                dialer = await self._dialers.first()
            except NoReplicaError:
                reason = "no address"
            else:
                try:
                    async for part in self._parts(dialer):
                        wait = _FIRST_WAIT
                        await self._received(part)
                    reason = "ended"
                except grpc.aio.AioRpcError as error:
                    reason = rpc.caught(error)
                except TimeoutError:
                    reason = "timeout"
                except StartupError as error:
                    reason = str(error)
                self._dialers.failed(dialer)
            if self.connected:
                log.warning("configuration_watch_lost", reason=reason)
            self._set_connected(False)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _parts(self, dialer: rpc.Dialer) -> AsyncIterator[config_pb2.PolicySnapshotPart]:
        call = config_pb2_grpc.ConfigurationStub(dialer.channel()).WatchPolicy(
            config_pb2.WatchRequest(digest=self._digest, consumer=f"{socket.gethostname()}/{os.getpid()}")
        )
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await call.wait_for_connection()
            self._set_connected(True)
            merged = config_pb2.PolicySnapshot()
            async for part in call:
                merged.MergeFrom(part.snapshot)
                if part.last:
                    yield config_pb2.PolicySnapshotPart(snapshot=merged, last=True, digest=part.digest)
                    merged = config_pb2.PolicySnapshot()
        finally:
            # One that connects when nobody waits for it any more would stay open.
            call.cancel()

    async def _received(self, part: config_pb2.PolicySnapshotPart) -> None:
        # A refused one is not asked for again either, until it changes.
        self._digest = part.digest
        if await self._take(part):
            await asyncio.to_thread(self._file.write, part)

    async def _take(self, whole: config_pb2.PolicySnapshotPart) -> bool:
        message = whole.snapshot
        try:
            snapshot = await asyncio.to_thread(compile_snapshot, message)
        except ValueError as error:
            SNAPSHOT_ERRORS.inc()
            log.error("configuration_refused", revision=message.revision, reason=str(error))
            return False
        self._use(snapshot)
        SNAPSHOT_DIGEST.set(fingerprint(whole.digest))
        self._ready.set()
        log.info("configuration_in_use", revision=snapshot.revision, access_rules=len(message.access_rules))
        return True

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        CONFIGURATION_UP.set(connected)


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
