"""TLS between ciphertext and plaintext: certificates by server name, which are reloaded when their files change, and
the handshake.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from libs.runtime.certificates import CertificateFacts, facts, load_pair
from libs.runtime.lifecycle import StartupError
from libs.runtime.self_signed import kept_pair, was_made_here
from services.ingress.metrics import Metrics
from services.ingress.session import Tls

log = structlog.get_logger(__name__)

_READ_OCTETS = 64 * 1024
_RELOAD_SECONDS = 5.0


class _NamedObject(ssl.SSLObject):
    """An SSLObject that remembers the name for which the client asked."""

    requested_name = ""


class TlsFilter:
    """The server's side of one TLS connection, without I/O. The caller passes ciphertext in and out."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @property
    def ssl_object(self) -> ssl.SSLObject:
        return self._object

    def take_in(self, ciphertext: bytes) -> None:
        self._incoming.write(ciphertext)

    @property
    def waiting_octets(self) -> int:
        """Returns the number of octets of ciphertext that were passed in and not read yet."""
        return self._incoming.pending

    def handshake(self) -> bool:
        """Continues the handshake. Returns True once it is done. Raises ssl.SSLError when it fails."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> tuple[bytes, bool]:
        """Returns the plaintext that can be decrypted now, and whether the client closed its side. Raises
        ssl.SSLError.
        """
        parts: list[bytes] = []
        try:
            while part := self._object.read(_READ_OCTETS):
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts), False
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        return b"".join(parts), True

    def write(self, plaintext: bytes) -> None:
        self._object.write(plaintext)

    def end(self) -> None:
        """Sends close_notify, without waiting for the client's close_notify."""
        try:
            self._object.unwrap()
        except (ssl.SSLError, ValueError):
            # SSLWantRead means that our close_notify is written, and the client's has not arrived. After any other
            # error, nothing can be sent.
            return

    def take_out(self) -> bytes:
        """Returns the ciphertext to send."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def state(self) -> Tls:
        """Returns the facts about TLS after the handshake."""
        cipher = self._object.cipher()
        name = getattr(self._object, "requested_name", "")
        return Tls(self._object.version() or "", cipher[0] if cipher else "", name)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """The settings of TLS. `minimum` is TLSv1.2 or TLSv1.3. `ciphers` is in OpenSSL's notation for TLS 1.2, and empty
    for the default of the library.
    """

    minimum: str
    ciphers: str
    session_tickets: bool


class Certificates:
    """The certificate pairs, by the names in them. The first pair is for clients that ask for none of these names."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]], options: TlsOptions, metrics: Metrics) -> None:
        """Raises StartupError when a pair cannot be used."""
        self._pairs = tuple(pairs)
        self._options = options
        self._metrics = metrics
        self._stamps = self._stamp()
        # The certificates in use, with the default certificate first.
        self.in_use: tuple[CertificateFacts, ...] = ()
        try:
            self._contexts = self._load()
        except (OSError, ValueError) as error:
            raise StartupError(f"TLS certificate: {error}") from error

    def context(self) -> ssl.SSLContext:
        """Returns the context for the next handshake."""
        return self._contexts[""]

    async def watch(self) -> None:
        """Loads changed files until cancelled. If a pair cannot be used, the old ones stay in use, and an alert
        fires.
        """
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            # This runs in a thread, because a file system may be slow, and sessions must not wait for it.
            await asyncio.to_thread(self.reload)

    def reload(self) -> None:
        """Loads the files if any of them changed."""
        stamps = self._stamp()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._contexts = self._load()
        except (OSError, ValueError) as error:
            self._metrics.certificate_failures += 1
            log.error("certificate_not_loaded", reason=str(error))
            return
        log.info("certificates_loaded", files=[str(certificate) for certificate, _ in self._pairs])

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for path in (path for pair in self._pairs for path in pair):
            try:
                status = path.stat()
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(stamps)

    def _load(self) -> dict[str, ssl.SSLContext]:
        """Returns the contexts by name, with the default one under the empty name. Raises OSError (including
        ssl.SSLError) or ValueError.
        """
        contexts: dict[str, ssl.SSLContext] = {}
        in_use: list[CertificateFacts] = []
        for certificate, key in self._pairs:
            context = self._context(certificate, key)
            in_use.append(facts(certificate))
            contexts.setdefault("", context)
            for name in in_use[-1].names:
                contexts.setdefault(name, context)
        contexts[""].sni_callback = self._choose
        self.in_use = tuple(in_use)
        return contexts

    def _context(self, certificate: Path, key: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslobject_class = _NamedObject
        context.minimum_version = ssl.TLSVersion[self._options.minimum.replace(".", "_")]
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_COMPRESSION
        if self._options.ciphers:
            context.set_ciphers(self._options.ciphers)
        if not self._options.session_tickets:
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        load_pair(context, certificate, key)
        return context

    def _choose(self, chosen: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        """Chooses the context for SNI: the exact name, otherwise a wildcard for one label, otherwise the default. This
        method is not called for a name that is not ASCII, because the ssl module ends the handshake with an alert.
        """
        host_name = (name or "").lower().rstrip(".")
        if isinstance(chosen, _NamedObject):
            chosen.requested_name = host_name
        context = self._contexts.get(host_name) or self._contexts.get(f"*.{host_name.partition('.')[2]}")
        if context is not None and host_name:
            chosen.context = context


def ignore_undecodable_names() -> None:
    """Prevents the ssl module from printing a traceback for each client that asks for a name that is not ASCII (F11).
    The failed handshake is counted and logged like any other.
    """
    sys.unraisablehook = _report_unraisable


def _report_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(unraisable.object, bytes)):
        sys.__unraisablehook__(unraisable)


def self_signed(folder: Path, host_name: str, now: datetime.datetime) -> tuple[Path, Path]:
    """Returns the pair in the data folder: ingress.crt and ingress.key, if an operator put them there, otherwise a
    self-signed pair with another file name. The self-signed pair is made when there is none, or when it expires soon. A
    pair that Posthouse did not make is never overwritten (F16). Raises StartupError.
    """
    placed = folder / "ingress.crt", folder / "ingress.key"
    if all(path.exists() for path in placed) and not was_made_here(placed[0], host_name):
        return placed
    made = folder / "self-signed.crt", folder / "self-signed.key"
    kept_pair(*made, host_name, now)
    return made
