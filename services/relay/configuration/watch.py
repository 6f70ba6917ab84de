"""The watch on config_api: the newest configuration, kept on disk for a start without it."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterable, Callable

import grpc
import structlog
from google.protobuf.message import DecodeError
from posthouse.config.v1 import config_pb2, config_pb2_grpc

from libs.runtime import rpc
from libs.runtime.dialing import Dialers, NoReplicaError
from libs.runtime.lifecycle import StartupError
from libs.runtime.metrics import fingerprint
from libs.runtime.sealed_file import SealedFile, UnsealError
from services.relay.configuration.model import Configuration
from services.relay.configuration.snapshot import configuration
from services.relay.metrics import (
    CONFIGURATION_UP,
    SNAPSHOT_CREATED,
    SNAPSHOT_DIGEST,
    SNAPSHOT_ERRORS,
    SNAPSHOT_REVISION,
)

log = structlog.get_logger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_CONNECT_SECONDS = 5.0
# A watch that was open for so long was a good one: the pauses begin anew.
_GOOD_SECONDS = 30.0


class ConfigurationWatch:
    """`current` is None until the first configuration. A new one replaces it as a whole; a bad one changes nothing."""

    def __init__(self, dialers: Dialers, file: SealedFile) -> None:
        self._dialers = dialers
        self._file = file
        self._digest = b""
        self.current: Configuration | None = None
        self.connected = False
        self._first = asyncio.Event()
        # Called with each new configuration.
        self.on_change: list[Callable[[Configuration], None]] = []

    def restore(self) -> None:
        """Takes the last good configuration from the disk, if there is one."""
        try:
            part = config_pb2.RelaySnapshotPart.FromString(self._file.read())
            if not part.last:
                raise ValueError("not a whole configuration")
            self._use(part.snapshot, part.digest)
        except FileNotFoundError:
            return
        except (OSError, UnsealError, DecodeError, ValueError) as error:
            log.warning("kept_configuration_unusable", error=type(error).__name__)
            return
        log.info("configuration_restored", revision=part.snapshot.revision)

    async def configured(self) -> None:
        """Returns when there is a configuration."""
        await self._first.wait()

    async def run(self) -> None:
        """Watches for ever, one replica of config_api after the other, with pauses that grow and are spread."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            target, began = "", loop.time()
            try:
                dialer = await self._dialers.first()
            except NoReplicaError:
                reason = "no address"
            else:
                target = dialer.target
                reason = await self._watch(dialer)
                self._dialers.failed(dialer)
            if self.connected:
                log.warning("configuration_watch_lost", target=target, reason=reason)
            elif pause == _FIRST_PAUSE:
                # Services start in any order.
                log.info("configuration_not_reached", target=target, reason=reason)
            self._set_connected(False)
            pause = _FIRST_PAUSE if loop.time() - began > _GOOD_SECONDS else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    async def _watch(self, dialer: rpc.Dialer) -> str:
        """One watch from its beginning to its end; returns why it ended."""
        try:
            stub = config_pb2_grpc.ConfigurationStub(dialer.channel())
            request = config_pb2.WatchRequest(digest=self._digest, consumer=f"relay@{socket.gethostname()}")
            call = stub.WatchRelay(request)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await call.wait_for_connection()
                self._set_connected(True)
                await self._follow(call)
            finally:
                # One that connects when nobody waits for it any more would stay open.
                call.cancel()
        except grpc.aio.AioRpcError as error:
            return rpc.caught(error)
        except TimeoutError:
            return "timeout"
        except StartupError as error:
            return str(error)
        return "ended"

    async def _follow(self, parts: AsyncIterable[config_pb2.RelaySnapshotPart]) -> None:
        whole = config_pb2.RelaySnapshot()
        async for part in parts:
            whole.MergeFrom(part.snapshot)
            if part.last:
                await self._replace(whole, part.digest)
                whole = config_pb2.RelaySnapshot()

    async def _replace(self, snapshot: config_pb2.RelaySnapshot, digest: bytes) -> None:
        try:
            self._use(snapshot, digest)
        except ValueError as error:
            # The old one stays (C138).
            SNAPSHOT_ERRORS.inc()
            log.error("configuration_refused", revision=snapshot.revision, reason=str(error)[:200])
            return
        kept = config_pb2.RelaySnapshotPart(snapshot=snapshot, last=True, digest=digest).SerializeToString()
        try:
            await asyncio.to_thread(self._file.write, kept)
        except OSError as error:
            log.warning("configuration_not_kept", error=error.strerror)
        log.info("configuration_in_use", revision=snapshot.revision)

    def _use(self, snapshot: config_pb2.RelaySnapshot, digest: bytes) -> None:
        self.adopt(configuration(snapshot))
        self._digest = digest
        SNAPSHOT_DIGEST.set(fingerprint(digest))
        SNAPSHOT_CREATED.set(snapshot.created_at.seconds)

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        CONFIGURATION_UP.set(connected)

    def adopt(self, new: Configuration) -> None:
        """From now on this is the configuration, and whom it concerns is told."""
        self.current = new
        self._first.set()
        SNAPSHOT_REVISION.set(new.revision)
        for tell in self.on_change:
            tell(new)
