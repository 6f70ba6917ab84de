"""HTTPS: the certificate, which is read anew when its files change, and the handshake of a connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog

from libs.runtime.certificates import load_pair
from libs.runtime.lifecycle import StartupError
from services.config_api.http.connections import HEAD_SECONDS, ConnectionGuard, client_of, key_of

log = structlog.get_logger(__name__)

_RELOAD_SECONDS = 5.0
# The guard ends a slow handshake earlier.
_HANDSHAKE_SECONDS = 60.0
_Stamp = tuple[int, int, int]


class Certificate:
    """The chain and key that the server shows. A pair that cannot be used leaves the old one in service."""

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises StartupError when the pair cannot be used."""
        self.chain, self._key = chain, key
        self._stamps = self._stamp()
        try:
            self.context = self._load()
        except ValueError as error:
            raise StartupError(f"TLS certificate: {error}") from error

    async def watch(self) -> None:
        """Loads changed files until cancelled."""
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            # In a thread: a file system may be slow to answer, and requests must not wait for it.
            await asyncio.to_thread(self.reload)

    def reload(self) -> None:
        """Loads the files if one of them changed."""
        stamps = self._stamp()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self.context = self._load()
        except ValueError as error:
            log.error("certificate_not_loaded", reason=str(error))
        else:
            log.info("certificates_loaded", files=[str(self.chain)])

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        load_pair(context, self.chain, self._key)
        return context

    def _stamp(self) -> tuple[_Stamp | None, ...]:
        """What tells a file from the one that replaced it, for both files; None where there is no file."""
        stamps: list[_Stamp | None] = []
        for path in (self.chain, self._key):
            try:
                status = path.stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(stamps)


class Handshake(asyncio.Protocol):
    """A connection until its TLS handshake is done; then the protocol of HTTP takes its place.

    It counts as a connection of its client and has a deadline from its first moment on, so a client that never speaks
    TLS costs no more than one that never speaks HTTP.
    """

    serves = False

    def __init__(
        self, guard: ConnectionGuard, certificate: Certificate, make_http: Callable[[], asyncio.Protocol]
    ) -> None:
        self._guard = guard
        self._certificate = certificate
        self._make_http = make_http
        self._upgrade: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.client = client_of(transport)
        self.client_key = key_of(self.client)
        self.last_octet_at = self._guard.clock()
        self._guard.add(self)
        self._upgrade = asyncio.get_running_loop().create_task(self._to_tls())

    def is_overdue(self, now: float) -> bool:
        return now - self.last_octet_at > HEAD_SECONDS

    def connection_lost(self, _: Exception | None) -> None:
        self._guard.remove(self)

    async def _to_tls(self) -> None:
        early = _EarlyOctets()
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                self.transport,
                early,
                self._certificate.context,
                server_side=True,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except OSError:
            self.transport.abort()
            return
        finally:
            self._guard.remove(self)
        if encrypted is None or early.lost:
            return
        http = self._make_http()
        encrypted.set_protocol(http)
        http.connection_made(encrypted)
        for octets in early.received:
            http.data_received(octets)
        if early.at_end and not http.eof_received():
            encrypted.close()


class _EarlyOctets(asyncio.Protocol):
    """Keeps what a client sends between the end of the handshake and the moment when HTTP takes over."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.at_end = False
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.received.append(data)

    def eof_received(self) -> bool:
        self.at_end = True
        return True

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
