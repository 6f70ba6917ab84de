"""The watch on config_api: it gets the newest configuration, and stores it in a file for a start without config_api."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Gauge

from libs.runtime import rpc
from libs.runtime.addresses import Address, UnixSocket
from libs.runtime.dialing import Dialers, NoReplicaError
from libs.runtime.lifecycle import StartupError, finished_within
from libs.runtime.metrics import fingerprint
from libs.runtime.sealed_file import SealedFile, UnsealError
from libs.runtime.snapshot_pages import SnapshotPages

log = structlog.get_logger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 3.0
_CONNECT_SECONDS = 5.0
# When a watch was open for longer than this time, the next pause is as short as the first one.
_STABLE_SECONDS = 30.0
# The longest time in which a stopping replica tries to tell config_api that it leaves.
_LEAVE_SECONDS = 1.0
# The pause between two writes of the file: at least this time, and at least this multiple of the duration of a write.
_KEEP_SECONDS = 5.0
_KEEP_PAUSE_FACTOR = 20.0


class DigestDiffersError(Exception):
    """The pieces, from config_api or from the file, do not make the snapshot whose digest came with them."""


class PieceChange(NamedTuple):
    """A piece of the snapshot, before and after a change. `before` is empty if the piece did not exist, and `after` is
    empty if it does not exist any more.
    """

    key: str
    before: bytes
    after: bytes


Configuration = TypeVar("Configuration")
Made_co = TypeVar("Made_co", covariant=True)


class SnapshotReader(Protocol[Made_co]):
    """Makes configurations from pieces, and keeps the data that it needs to apply the next change."""

    def read(self, changes: Sequence[PieceChange], revision: int) -> Made_co:
        """Returns the configuration after these changes. The first call gets all pieces as changes. This method is
        called in a worker thread.

        Raises ValueError when the configuration contradicts itself. After an error the reader is not used any more.
        """


class SnapshotMetrics:
    """The metrics of `service` about its configuration and its watch."""

    def __init__(self, service: str) -> None:
        prefix = f"posthouse_{service}"
        self.up = Gauge(f"{prefix}_configuration_up", "1 while the watch at config_api is open.")
        self.revision = Gauge(f"{prefix}_snapshot_revision", "Revision of the configuration in force.")
        self.digest = Gauge(
            f"{prefix}_snapshot_digest",
            "48 bits of the digest of the snapshot in force. They show which snapshot it is.",
        )
        self.created = Gauge(
            f"{prefix}_snapshot_created_timestamp_seconds", "Time when the revision in force was made."
        )
        self.errors = Counter(
            f"{prefix}_snapshot_errors", "Snapshots that were refused, so that the previous one stayed in force."
        )


@dataclass(frozen=True, slots=True)
class SnapshotSource(Generic[Configuration]):
    """The access of a service to its configuration from config_api. The messages are those of config.v1."""

    # The name of the service, as in config_api's log.
    service: str
    # A function that opens the service's watch on a channel.
    open: Callable[[grpc.aio.Channel], Any]
    request: type[Any]
    part: type[Any]
    reader: Callable[[], SnapshotReader[Configuration]]


class ConfigurationWatch(Generic[Configuration]):
    """Keeps the newest configuration in force, and tells config_api its revision. A faulty configuration is refused and
    counted, and the previous one stays in force (C138).
    """

    def __init__(
        self,
        source: SnapshotSource[Configuration],
        dialers: Dialers,
        file: SealedFile,
        metrics: SnapshotMetrics,
        name: str,
        wait_seconds: float,
    ) -> None:
        """`name` is the name of this replica in the status of the services. If it is empty, it is the name of the
        service.

        `run` waits `wait_seconds` for config_api before it puts the configuration of the file in force. The file may
        lack the newest changes, and mail must not be refused permanently because of that while the newest configuration
        is available.
        """
        self._source = source
        self._dialers = dialers
        self._file = file
        self._metrics = metrics
        self._name = name or source.service
        self._pages = SnapshotPages()
        self._digest = b""
        # The reader of the pages. It is None while the pages are empty, or have a configuration that was refused.
        self._reader: SnapshotReader[Configuration] | None = None
        self._configured = asyncio.Event()
        # The configuration of the file and its revision. They are put in force when config_api sends no configuration
        # in time.
        self._restored: tuple[Configuration, int] | None = None
        self._wait_seconds = wait_seconds
        # The last good snapshot in the form of the file, and an event that is set when it must be written.
        self._good: Sequence[bytes] = ()
        self._unkept = asyncio.Event()
        self._writing: tuple[asyncio.Future[None], ...] = ()
        # The configuration in force. It is None until there is one.
        self.current: Configuration | None = None
        # The revision in force. It is 0 until there is a configuration.
        self.revision = 0
        self.connected = False
        # These functions are called on the event loop with each configuration that differs from the previous one.
        self.on_change: list[Callable[[Configuration], None]] = []
        # These functions are called on the event loop at each revision, even if it changed nothing for this service.
        self.on_revision: list[Callable[[Configuration], None]] = []

    async def restore(self) -> None:
        """Reads the last good configuration of the file, if there is one. `run` puts it in force when config_api does
        not send one in time.
        """
        try:
            part = await asyncio.to_thread(self._read_file)
            # An empty file could be read as a snapshot without pieces, in which everything would be off.
            if not part.last:
                raise ValueError("not a whole configuration")
            pieces = {piece.key: piece.content for piece in part.pieces}
            configuration = await asyncio.to_thread(self._read, pieces, part, whole=True)
        except FileNotFoundError:
            return
        except (OSError, UnsealError, DecodeError, ValueError, DigestDiffersError) as error:
            log.error("kept_configuration_unusable", path=str(self._file.path), reason=type(error).__name__)
            self._pages, self._reader = SnapshotPages(), None
            return
        self._digest = part.digest
        self._remember(part)
        self._restored = configuration, part.revision

    async def configured(self) -> None:
        """Waits until there is a configuration."""
        await self._configured.wait()

    async def run(self) -> None:
        """Watches until cancelled.

        When a watch ends, the next replica of config_api is tried after a pause. The pauses grow, and they are random
        so that not all consumers come at once.
        """
        tasks = asyncio.create_task(self._keep()), asyncio.create_task(self._use_restored())
        try:
            await self._run()
        finally:
            for task in tasks:
                task.cancel()
            # Cancelling a write does not stop its thread, so we wait for it here.
            await asyncio.gather(*tasks, *self._writing, return_exceptions=True)
            if self._unkept.is_set():
                await self._write_file()

    async def _use_restored(self) -> None:
        """Puts the configuration of the file in force if no other configuration arrives in time."""
        if self._restored is None or await finished_within(self._wait_seconds, self._configured.wait()):
            return
        self.adopt(*self._restored)
        log.info("configuration_restored", revision=self.revision)

    async def _run(self) -> None:
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
                # This line is not a warning, because services start in any order.
                log.info("configuration_unreachable", target=target, reason=reason)
            self._set_connected(False)
            pause = _FIRST_PAUSE if loop.time() - began > _STABLE_SECONDS else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    async def _watch(self, dialer: rpc.Dialer) -> str:
        """Runs one watch to its end. Returns why it ended."""
        try:
            call = self._source.open(dialer.channel())
            request = self._source.request(digest=self._digest, consumer=self._name, revision_in_force=self.revision)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await call.write(request)
                    await call.wait_for_connection()
                self._set_connected(True)
                await self._follow_until_cancelled(call)
            finally:
                # A call that connects after the time-out would stay open.
                call.cancel()
        except grpc.aio.AioRpcError as error:
            return rpc.caught(error)
        except TimeoutError:
            return "timeout"
        except StartupError as error:
            return str(error)
        except DigestDiffersError:
            self._digest = b""
            log.error("configuration_digest_differs", target=dialer.target)
            return "digest differs"
        except asyncio.InvalidStateError:
            # The stream had already ended when the revision in force was written to it.
            pass
        return "ended"

    async def _follow_until_cancelled(self, call: Any) -> None:
        """Follows the stream. When it is cancelled, it first tells config_api that this replica leaves.

        Cancelling a task that reads a gRPC stream cancels the stream too. So a separate task reads, and the cancelled
        task can still write.
        """
        following = asyncio.create_task(self._follow(call))
        try:
            await asyncio.wait((following,))
        except asyncio.CancelledError:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await call.write(self._source.request(leaving=True))
                    # When config_api has read this message, it ends the stream.
                    await asyncio.wait((following,))
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            raise
        following.result()

    async def _follow(self, call: Any) -> None:
        pieces: dict[str, bytes] = {}
        is_whole = False
        async for part in call:
            if part.whole:
                pieces, is_whole = {}, True
            pieces.update((piece.key, piece.content) for piece in part.pieces)
            if part.last:
                if await self._take(pieces, part, whole=is_whole):
                    await call.write(self._source.request(revision_in_force=self.revision))
                pieces, is_whole = {}, False

    async def _take(self, pieces: Mapping[str, bytes], part: Any, *, whole: bool) -> bool:
        """Puts a revision in force. Returns false when the revision is refused. Raises DigestDiffersError."""
        if not pieces and not whole and self._digest == part.digest and self._reader is None:
            # A refused configuration is not read again until it changes.
            return False
        try:
            configuration = await asyncio.to_thread(self._read, pieces, part, whole=whole)
        except ValueError as error:
            self._digest, self._reader = part.digest, None
            self._metrics.errors.inc()
            log.error("configuration_refused", revision=part.revision, reason=str(error)[:200])
            return False
        is_same = self.current is not None and self._digest == part.digest
        self._digest = part.digest
        self._remember(part)
        self.adopt(configuration, part.revision, is_same=is_same)
        if not is_same:
            self._unkept.set()
            log.info("configuration_in_use", revision=part.revision, pieces=len(pieces))
        return True

    def _read(self, pieces: Mapping[str, bytes], part: Any, *, whole: bool) -> Configuration:
        """Applies the pieces. Runs in a worker thread. Raises ValueError and DigestDiffersError."""
        if whole:
            self._pages, self._reader = SnapshotPages(), None
        changes = [PieceChange(key, self._pages.put(key, content), content) for key, content in pieces.items()]
        if self._pages.digest() != part.digest:
            raise DigestDiffersError
        if self._reader is None:
            self._reader = self._source.reader()
            changes = [PieceChange(key, b"", content) for key, content in self._pages.pieces()]
        return self._reader.read([change for change in changes if change.before != change.after], part.revision)

    def _remember(self, part: Any) -> None:
        """Shows the snapshot in the metrics, and stores it for the file."""
        ending = self._source.part(
            whole=True, last=True, revision=part.revision, created_at=part.created_at, digest=part.digest
        )
        self._good = (*self._pages.parts(), ending.SerializeToString())
        self._metrics.digest.set(fingerprint(part.digest))
        self._metrics.created.set(part.created_at.seconds)

    def adopt(self, configuration: Configuration, revision: int, *, is_same: bool = False) -> None:
        """Puts a configuration in force. Calls the functions in `on_change` (unless the configuration is the same as
        before) and those in `on_revision`.
        """
        self.current, self.revision = configuration, revision
        self._metrics.revision.set(revision)
        self._configured.set()
        for callback in (*(() if is_same else self.on_change), *self.on_revision):
            callback(configuration)

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        self._metrics.up.set(connected)

    def _read_file(self) -> Any:
        return self._source.part.FromString(self._file.read())

    async def _keep(self) -> None:
        """Writes each good snapshot to the file. It pauses between two writes, so that a large snapshot is not written
        at every change.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._unkept.wait()
            began = loop.time()
            await self._write_file()
            await asyncio.sleep(max(_KEEP_SECONDS, _KEEP_PAUSE_FACTOR * (loop.time() - began)))

    async def _write_file(self) -> None:
        self._unkept.clear()
        parts = self._good
        writing = asyncio.ensure_future(asyncio.to_thread(lambda: self._file.write(b"".join(parts))))
        self._writing = (writing,)
        try:
            await asyncio.shield(writing)
        except OSError as error:
            # The configuration is in force anyway. Only a start without config_api would lack it.
            log.error("configuration_not_kept", path=str(self._file.path), reason=error.strerror)


def replica_name(service: str, address: Address) -> str:
    """Returns the name of a replica from the address at which it listens: policy-2 for
    unix:/srv/var/run/policy-2.sock.
    """
    if isinstance(address, UnixSocket):
        return address.path.stem
    return f"{service}@{socket.gethostname()}:{address.port}"
