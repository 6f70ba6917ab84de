"""The certificate for HTTPS, which is read again when its files change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog

from libs.runtime.certificates import load_pair
from libs.runtime.lifecycle import StartupError

log = structlog.get_logger(__name__)

# A connection whose handshake is not finished after this time is closed.
HANDSHAKE_SECONDS = 30.0
_RELOAD_SECONDS = 5.0
_Stamp = tuple[int, int, int]


class Certificate:
    """The chain and the key of the server. If a new pair cannot be used, the old one stays in use.

    `context` is always the same object, because the listening sockets refer to it. It passes each handshake to the
    context of the newest pair, which is complete before its first use. If a pair were loaded into a context in use,
    handshakes at that moment would get a chain without its key.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises StartupError when the pair cannot be used."""
        self.chain, self._key = chain, key
        self._stamps = self._stamp()
        try:
            self._newest = self.context = self._load()
        except ValueError as error:
            raise StartupError(f"TLS certificate: {error}") from error
        self.context.sni_callback = self._choose_newest

    async def watch(self) -> None:
        """Loads changed files until cancelled."""
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            # This runs in a thread, because a file system may be slow, and requests must not wait for it.
            await asyncio.to_thread(self.reload)

    def reload(self) -> None:
        """Loads the files if one of them changed."""
        stamps = self._stamp()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._newest = self._load()
        except ValueError as error:
            log.error("certificate_not_loaded", reason=str(error))
        else:
            log.info("certificates_loaded", files=[str(self.chain)])

    def _load(self) -> ssl.SSLContext:
        """Makes a TLS context with the pair of certificate and key. Raises ValueError when they cannot be used."""
        context = _server_context()
        load_pair(context, self.chain, self._key)
        return context

    def _choose_newest(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Passes a handshake to the newest context. The ssl module calls this method for each handshake, with and
        without a server name from the client.
        """
        handshake.context = self._newest

    def _stamp(self) -> tuple[_Stamp | None, ...]:
        """Returns for each file a value that changes when the file is replaced, or None when there is no file."""
        stamps: list[_Stamp | None] = []
        for path in (self.chain, self._key):
            try:
                status = path.stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(stamps)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context
