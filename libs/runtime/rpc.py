"""gRPC as every service serves and calls it: health, reflection, TLS, keepalives, message sizes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from libs.runtime.certificates import load_pair, require_file
from libs.runtime.lifecycle import StartupError

log = structlog.get_logger(__name__)

# Of one gRPC message. Mail of any size is streamed in chunks, and so are snapshots; frames that gather many requests
# are closed well below this by those who make them.
MAX_MESSAGE_OCTETS = 64 * 1024 * 1024

_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_OCTETS),
    ("grpc.max_receive_message_length", MAX_MESSAGE_OCTETS),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A keepalive is a ping, and is waited for a minute without this.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
]
_SERVER_OPTIONS: list[tuple[str, int | str]] = [
    *_OPTIONS,
    # Else a second process on the same port would silently take half of the calls.
    ("grpc.so_reuseport", 0),
]
_CLIENT_OPTIONS: list[tuple[str, int | str]] = [
    *_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
]
# For the calls that are under way when a channel is not to be used any more.
LONGEST_CALL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side of mutual TLS: own chain and key, and the authority the other side is checked against."""

    certificate: Path
    key: Path
    authority: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """(key, chain, authority). Raises StartupError when a file can't be read."""
        try:
            for path in (self.key, self.certificate, self.authority):
                require_file(path)
            return self.key.read_bytes(), self.certificate.read_bytes(), self.authority.read_bytes()
        except OSError as error:
            raise StartupError(f"gRPC TLS: {error.filename}: {error.strerror}") from error
        except ValueError as error:
            raise StartupError(f"gRPC TLS: {error}") from error

    def check(self) -> None:
        """Raises StartupError when the files can't be read, or certificate and key are no pair."""
        self.read()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            load_pair(context, self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except ValueError as error:
            raise StartupError(f"gRPC TLS: {error}") from error
        except OSError as error:
            reason = getattr(error, "reason", "") or type(error).__name__
            raise StartupError(f"gRPC TLS: {self.authority}: {reason}") from error

    def state(self) -> tuple[tuple[int, int, int], ...]:
        """Changes whenever one of the files does; empty while one is missing."""
        try:
            found = [path.stat() for path in (self.certificate, self.key, self.authority)]
        except OSError:
            return ()
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


class _ServerCredentials:
    """What a server shows and demands at each handshake: the files as they are then; the last good ones when they
    are no pair, which they are not while they are being replaced one by one.
    """

    def __init__(self, files: TlsFiles) -> None:
        files.check()
        self._files = files
        self._state = files.state()
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(self._current, self._fetch, require_client_authentication=True)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        key, chain, authority = self._files.read()
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authority)

    def _fetch(self) -> grpc.ServerCertificateConfiguration:
        """At each handshake, in one of gRPC's own threads."""
        state = self._files.state()
        if state != self._state:
            try:
                self._files.check()
                self._current, self._state = self._read(), state
                log.info("grpc_certificates_reloaded", certificate=str(self._files.certificate))
            except StartupError as error:
                log.error("grpc_certificates_unusable", reason=str(error))
        return self._current


class Server:
    """A gRPC server with health and reflection. NOT_SERVING until `serving()` is called."""

    def __init__(self, service_names: Sequence[str], register: Callable[[grpc.aio.Server], None]) -> None:
        self._names = ["", *service_names]
        self._server = grpc.aio.server(options=_SERVER_OPTIONS)
        self._health = health_aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        register(self._server)
        names = (*service_names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self, host: str, port: int, tls: TlsFiles | None = None) -> int:
        """Listens; returns the port (useful with 0). Raises StartupError when the address is taken."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, _ServerCredentials(tls).credentials())
        except RuntimeError as error:
            await self._server.stop(0)
            raise StartupError(f"can't listen on {address}: is something else there?") from error
        await self.serving(False)
        await self._server.start()
        return bound

    async def serving(self, yes: bool) -> None:
        """What grpc.health.v1 answers, for every service of this process."""
        status = health_pb2.HealthCheckResponse.SERVING if yes else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._health.set(name, status)

    async def stop(self, grace_seconds: float) -> None:
        """Says NOT_SERVING, takes no new call, lets running ones end within `grace_seconds`."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


def channel(target: str, tls: TlsFiles | None = None, name: str = "") -> grpc.aio.Channel:
    """A channel to `host:port`, reconnecting by itself within 2 s at most. An IPv6 host stands in brackets.

    `name`: whose certificate the server must have, when that is not the target's host. The files are read now, so
    a channel goes on with what they held. Raises StartupError when they can't be read.
    """
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_CLIENT_OPTIONS)
    key, chain, authority = tls.read()
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    options = [*_CLIENT_OPTIONS, ("grpc.ssl_target_name_override", name)] if name else _CLIENT_OPTIONS
    return grpc.aio.secure_channel(target, credentials, options=options)


class Dialer:
    """The channel to a target for calls now and then: made anew when the certificates have changed."""

    def __init__(self, target: str, tls: TlsFiles | None, name: str = "") -> None:
        """`name` as for `channel`."""
        self.target = target
        self._name = name
        self._tls = tls
        self._state = tls.state() if tls is not None else ()
        self._current: grpc.aio.Channel | None = None
        # Former channels, closed when the calls on them have ended.
        self._closing: set[asyncio.Task[None]] = set()

    def channel(self) -> grpc.aio.Channel:
        """Raises StartupError when the certificates can't be read at the first call."""
        state = self._tls.state() if self._tls is not None else ()
        if self._current is None:
            self._current, self._state = channel(self.target, self._tls, self._name), state
        elif state != self._state and self._tls is not None:
            try:
                self._tls.check()
                fresh = channel(self.target, self._tls, self._name)
            except StartupError as error:
                # Half replaced, maybe: the next call looks again.
                log.error("grpc_certificates_unusable", reason=str(error))
                return self._current
            task = asyncio.get_running_loop().create_task(self._current.close(LONGEST_CALL_SECONDS))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._current, self._state = fresh, state
        return self._current

    async def close(self) -> None:
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        if self._current is not None:
            await self._current.close()
            self._current = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def targets(text: str) -> tuple[str, ...]:
    """The `host:port` targets of a comma-separated setting, in order.

    Raises ValueError when one has no port.
    """
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for target in found:
        host, _, port = target.rpartition(":")
        if not host or not port.isascii() or not port.isdigit():
            raise ValueError(f"target must be host:port, not {target!r}")
    if not found:
        raise ValueError("at least one host:port target is needed")
    return found


def caught(error: grpc.aio.AioRpcError) -> str:
    """A short name of an RPC's failure for logs and answers; never the peer's text, which may hold anything."""
    return error.code().name.lower()
