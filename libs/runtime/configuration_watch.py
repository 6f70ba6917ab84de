"""The watch on config_api: the newest configuration, kept in a file for a start without config_api."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Gauge

from libs.runtime import rpc
from libs.runtime.dialing import Dialers, NoReplicaError
from libs.runtime.lifecycle import StartupError
from libs.runtime.metrics import fingerprint
from libs.runtime.sealed_file import SealedFile, UnsealError

log = structlog.get_logger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 3.0
_CONNECT_SECONDS = 5.0
# After a watch that was open for so long, the pauses begin with the first one again.
_STABLE_SECONDS = 30.0


class SnapshotPart(Protocol):
    """The protobuf message by which config_api sends a piece of a configuration; `last` ends a whole one."""

    last: bool
    digest: bytes

    def __init__(self, *, snapshot: Any = ..., last: bool = ..., digest: bytes = ...) -> None: ...

    @property
    def snapshot(self) -> Any: ...

    @classmethod
    def FromString(cls, s: bytes) -> Self: ...  # noqa: N802 - protobuf's name

    def SerializeToString(self) -> bytes: ...  # noqa: N802 - protobuf's name


Part = TypeVar("Part", bound=SnapshotPart)
Configuration = TypeVar("Configuration")


class SnapshotMetrics:
    """What the metrics of `service` show of its configuration and of its watch."""

    def __init__(self, service: str) -> None:
        prefix = f"posthouse_{service}"
        self.up = Gauge(f"{prefix}_configuration_up", "1: config_api's watch is open.")
        self.revision = Gauge(f"{prefix}_snapshot_revision", "Revision of the configuration in force.")
        self.digest = Gauge(
            f"{prefix}_snapshot_digest", "Which snapshot is in force: 48 bits of its digest, as config_api tells it."
        )
        self.created = Gauge(f"{prefix}_snapshot_created_timestamp_seconds", "When that revision was made.")
        self.errors = Counter(
            f"{prefix}_snapshot_errors", "Snapshots that were refused; the one before stays in force."
        )


@dataclass(frozen=True, slots=True)
class SnapshotSource(Generic[Part, Configuration]):
    """How a service gets its configuration from config_api."""

    # The service's name, as config_api's log shows it.
    service: str
    part: type[Part]
    # Opens the service's watch on a channel, with the digest of the configuration in force and the consumer's name.
    open: Callable[[grpc.aio.Channel, bytes, str], Any]
    # Makes the configuration from a whole snapshot; runs in a thread. Raises ValueError when it contradicts itself.
    read: Callable[[Any], Configuration]


class ConfigurationWatch(Generic[Part, Configuration]):
    """Keeps the newest configuration in force. A bad one is refused and counted, and the one before stays (C138)."""

    def __init__(
        self,
        source: SnapshotSource[Part, Configuration],
        dialers: Dialers,
        file: SealedFile,
        metrics: SnapshotMetrics,
    ) -> None:
        self._source = source
        self._dialers = dialers
        self._file = file
        self._metrics = metrics
        self._digest = b""
        self._configured = asyncio.Event()
        # None until the first configuration.
        self.current: Configuration | None = None
        self.connected = False
        # Called on the event loop with each new configuration.
        self.on_change: list[Callable[[Configuration], None]] = []

    async def restore(self) -> None:
        """Puts the last good configuration of the file in force, if there is one."""
        try:
            part = await asyncio.to_thread(self._read_file)
            # An empty file reads as a snapshot in which everything is off.
            if not part.last:
                raise ValueError("not a whole configuration")
            configuration = await asyncio.to_thread(self._source.read, part.snapshot)
        except FileNotFoundError:
            return
        except (OSError, UnsealError, DecodeError, ValueError) as error:
            log.error("kept_configuration_unusable", path=str(self._file.path), reason=type(error).__name__)
            return
        self._use(configuration, part)
        self._digest = part.digest
        log.info("configuration_restored", revision=part.snapshot.revision)

    async def configured(self) -> None:
        """Returns when there is a configuration."""
        await self._configured.wait()

    async def run(self) -> None:
        """Watches until cancelled, one replica of config_api after the other, with pauses that grow and are spread."""
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
                # This is no warning, because services start in any order.
                log.info("configuration_not_reached", target=target, reason=reason)
            self._set_connected(False)
            pause = _FIRST_PAUSE if loop.time() - began > _STABLE_SECONDS else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    async def _watch(self, dialer: rpc.Dialer) -> str:
        """One watch from its beginning to its end; returns why it ended."""
        try:
            consumer = f"{self._source.service}@{socket.gethostname()}/{os.getpid()}"
            call = self._source.open(dialer.channel(), self._digest, consumer)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await call.wait_for_connection()
                self._set_connected(True)
                await self._follow(call)
            finally:
                # A call that connects after the time-out would stay open.
                call.cancel()
        except grpc.aio.AioRpcError as error:
            return rpc.caught(error)
        except TimeoutError:
            return "timeout"
        except StartupError as error:
            return str(error)
        return "ended"

    async def _follow(self, parts: AsyncIterable[Part]) -> None:
        whole = self._source.part(last=True)
        async for part in parts:
            whole.snapshot.MergeFrom(part.snapshot)
            if part.last:
                whole.digest = part.digest
                await self._replace(whole)
                whole = self._source.part(last=True)

    async def _replace(self, whole: Part) -> None:
        # A refused configuration is not asked for again either, until it changes.
        self._digest = whole.digest
        revision = whole.snapshot.revision
        try:
            configuration = await asyncio.to_thread(self._source.read, whole.snapshot)
        except ValueError as error:
            self._metrics.errors.inc()
            log.error("configuration_refused", revision=revision, reason=str(error)[:200])
            return
        self._use(configuration, whole)
        log.info("configuration_in_use", revision=revision)
        try:
            await asyncio.to_thread(self._write_file, whole)
        except OSError as error:
            # The configuration is in force all the same; only a start without config_api would miss it.
            log.error("configuration_not_kept", path=str(self._file.path), reason=error.strerror)

    def _use(self, configuration: Configuration, part: Part) -> None:
        self._metrics.digest.set(fingerprint(part.digest))
        self._metrics.created.set(part.snapshot.created_at.seconds)
        self._metrics.revision.set(part.snapshot.revision)
        self.adopt(configuration)

    def adopt(self, configuration: Configuration) -> None:
        """Puts a configuration in force, and tells it to `on_change`."""
        self.current = configuration
        self._configured.set()
        for tell in self.on_change:
            tell(configuration)

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        self._metrics.up.set(connected)

    def _read_file(self) -> Part:
        return self._source.part.FromString(self._file.read())

    def _write_file(self, part: Part) -> None:
        self._file.write(part.SerializeToString())
