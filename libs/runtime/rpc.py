"""The settings of gRPC for every service, as server and client: health, reflection, TLS, keepalives, message sizes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from libs.runtime import addresses, socket_folder
from libs.runtime.addresses import TcpAddress, UnixSocket
from libs.runtime.authorisation import ANY_SERVICE, Authorisation, Callers
from libs.runtime.lifecycle import StartupError
from libs.runtime.security import INSECURE_WARNING, Security, ServerCredentials, service_dns_name
from libs.runtime.socket_folder import SocketLock

log = structlog.get_logger(__name__)

# The largest number of octets of a message. Mail and snapshots of any size are sent in chunks. Frames with many
# requests are kept much smaller than this.
MAX_MESSAGE_OCTETS = 64 * 1024 * 1024

_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_OCTETS),
    ("grpc.max_receive_message_length", MAX_MESSAGE_OCTETS),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A keepalive is a ping. By default, gRPC would wait a minute for its answer.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
]
_SERVER_OPTIONS: list[tuple[str, int | str]] = [
    *_OPTIONS,
    # If the port were shared, a second process on it would get half of the calls without notice.
    ("grpc.so_reuseport", 0),
]
_CLIENT_OPTIONS: list[tuple[str, int | str]] = [
    *_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
]
# The longest time of a call that is running when its channel is closed.
LONGEST_CALL_SECONDS = 120.0
# The key of the metadata with the running release, in answers of the health service.
VERSION_METADATA = "posthouse-version"
# The key of the metadata with the revision of the configuration in force, if the service has a configuration.
REVISION_METADATA = "posthouse-revision"


class _Health(health_aio.HealthServicer):  # type: ignore[misc]
    """Adds the running release, and the revision of the configuration in force, to each answer of Check."""

    def __init__(self, revision: Callable[[], int]) -> None:
        super().__init__()
        self._version = version("posthouse")
        self._revision = revision

    async def Check(  # noqa: N802 - the contract's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        metadata = [(VERSION_METADATA, self._version)]
        if revision := self._revision():
            metadata.append((REVISION_METADATA, str(revision)))
        context.set_trailing_metadata(tuple(metadata))
        return await super().Check(request, context)


class Server:
    """A gRPC server with health, and optionally with reflection. Its state is NOT_SERVING until `serving()` is
    called.
    """

    def __init__(
        self,
        callers: Callers,
        register: Callable[[grpc.aio.Server], None],
        on_refused: Callable[[], None] = lambda: None,
        revision: Callable[[], int] = lambda: 0,
    ) -> None:
        """`callers` has for each service that `register` adds, and each of its methods, the services that may call it
        over TCP. `on_refused` is called for each refused call. `revision` returns the revision of the configuration in
        force, which health reports, or 0 when there is none.
        """
        self._on_refused = on_refused
        self._callers = callers
        self._register = register
        self._server: grpc.aio.Server | None = None
        self._health = _Health(revision)
        self._lock: SocketLock | None = None

    async def start(self, listen: str, security: Security) -> str:
        """Listens on `unix:PATH` or `host:port`. Returns this address, with the real port if it was 0.

        Raises StartupError when the address is in use, or when `security` does not allow it.
        """
        try:
            security.require([listen])
        except ValueError as error:
            raise StartupError(str(error)) from error
        address = addresses.parse(listen)
        if isinstance(address, UnixSocket):
            socket_folder.make(address.path.parent)
            self._lock = SocketLock(address.path)
        elif security.tls is None:
            log.warning("grpc_is_insecure", listen=listen, warning=INSECURE_WARNING)
        self._server = server = self._made(security if isinstance(address, TcpAddress) else Security())
        try:
            if isinstance(address, TcpAddress) and security.tls is not None:
                port = server.add_secure_port(str(address), ServerCredentials(security.tls).credentials())
            else:
                port = server.add_insecure_port(str(address))
        except RuntimeError as error:
            await self.stop(0)
            raise StartupError(f"can't listen on {address}: another process may use this address") from error
        await self.serving(False)
        await server.start()
        return str(TcpAddress(address.host, port) if isinstance(address, TcpAddress) else address)

    def _made(self, security: Security) -> grpc.aio.Server:
        health, reflected = health_pb2.DESCRIPTOR.services_by_name["Health"], reflection.SERVICE_NAME
        callers: dict[str, Mapping[str, Collection[str]]] = {
            **self._callers,
            health.full_name: dict.fromkeys(health.methods_by_name, ANY_SERVICE),
            reflected: {"ServerReflectionInfo": ANY_SERVICE},
        }
        interceptors = [] if security.tls is None else [Authorisation(callers, self._on_refused)]
        server = grpc.aio.server(options=_SERVER_OPTIONS, interceptors=interceptors)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self._register(server)
        if security.reflection:
            reflection.enable_server_reflection(tuple(callers), server)
        return server

    async def serving(self, yes: bool) -> None:
        """Sets the answer of grpc.health.v1 for every service of this process."""
        status = health_pb2.HealthCheckResponse.SERVING if yes else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._callers):
            await self._health.set(name, status)

    async def stop(self, grace_seconds: float) -> None:
        """Reports NOT_SERVING, accepts no new calls, and lets running calls end within `grace_seconds`."""
        await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(grace_seconds)
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def channel(target: str, security: Security, service: str) -> grpc.aio.Channel:
    """Makes a channel to `unix:PATH` or `host:port`, which waits at most some 2 s between two tries to connect.

    Over TCP the server must have the certificate of `service`. The files are read now, and later changes of the files
    do not affect the channel. Raises StartupError when they can't be read, or when `security` does not allow calls of
    the target.
    """
    address = addresses.parse(target)
    if isinstance(address, UnixSocket):
        if address.path.parent.exists():
            # If another user had made the folder, that user could get mail and secrets.
            socket_folder.check(address.path.parent)
        return grpc.aio.insecure_channel(target, options=_CLIENT_OPTIONS)
    try:
        security.require([target])
    except ValueError as error:
        raise StartupError(str(error)) from error
    if security.tls is None:
        return grpc.aio.insecure_channel(target, options=_CLIENT_OPTIONS)
    key, chain, authority = security.tls.read()
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    options = [*_CLIENT_OPTIONS, ("grpc.ssl_target_name_override", service_dns_name(service))]
    return grpc.aio.secure_channel(target, credentials, options=options)


class Dialer:
    """The channel to a target for occasional calls. A new channel is made when the certificates have changed."""

    def __init__(self, target: str, security: Security, service: str) -> None:
        """`service` is the service of the target."""
        self.target = target
        self._service = service
        self._security = security
        self._tls = security.tls
        self._state = self._tls.state() if self._tls is not None else ()
        self._current: grpc.aio.Channel | None = None
        # Former channels, which are closed when their calls have ended.
        self._closing: set[asyncio.Task[None]] = set()

    def channel(self) -> grpc.aio.Channel:
        """Returns the channel. When the files of the certificates have changed, it is a new channel. Raises
        StartupError when they can't be read at the first call.
        """
        state = self._tls.state() if self._tls is not None else ()
        if self._current is None:
            self._current, self._state = channel(self.target, self._security, self._service), state
        elif state != self._state and self._tls is not None:
            try:
                self._tls.check()
                fresh = channel(self.target, self._security, self._service)
            except StartupError as error:
                # The files may be only half replaced. The next call checks again.
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


def caught(error: grpc.aio.AioRpcError) -> str:
    """Returns a short name of an RPC's failure for logs and answers. The text of the other side is not used, because it
    may contain anything.
    """
    return error.code().name.lower()
