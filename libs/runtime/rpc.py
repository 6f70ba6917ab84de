"""gRPC as every service serves and calls it: health, reflection, TLS, keepalives, message sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from libs.runtime.lifecycle import StartupError

# Above the largest message (profile.max_message_size_mb is streamed in chunks) and the largest snapshot part.
MAX_MESSAGE_OCTETS = 64 * 1024 * 1024

_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_OCTETS),
    ("grpc.max_receive_message_length", MAX_MESSAGE_OCTETS),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
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


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side of mutual TLS: own chain and key, and the authority the other side is checked against."""

    certificate: Path
    key: Path
    authority: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """(key, chain, authority). Raises StartupError when a file can't be read."""
        try:
            return self.key.read_bytes(), self.certificate.read_bytes(), self.authority.read_bytes()
        except OSError as error:
            raise StartupError(f"gRPC TLS: {error.filename}: {error.strerror}") from error


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
                key, chain, authority = tls.read()
                credentials = grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=True)
                bound = self._server.add_secure_port(address, credentials)
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


def channel(target: str, tls: TlsFiles | None = None) -> grpc.aio.Channel:
    """A channel to `host:port`, reconnecting by itself within 2 s at most. An IPv6 host stands in brackets."""
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_CLIENT_OPTIONS)
    key, chain, authority = tls.read()
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    return grpc.aio.secure_channel(target, credentials, options=_CLIENT_OPTIONS)


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
