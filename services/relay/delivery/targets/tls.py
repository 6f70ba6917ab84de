"""How a connection is secured: the contexts, what is asked of a certificate, and hosts whose TLS is broken."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import structlog

from libs.smtp.address import canonical_domain
from services.relay.delivery.targets.dane import TlsaRecord, verify

log = structlog.get_logger(__name__)

_BROKEN_SECONDS = 3600.0
_BROKEN_LIMIT = 10_000
# How often the files of certificate authorities are looked at.
_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TlsPlan:
    """The TLS that a connection needs."""

    # none, opportunistic, required, mta-sts, dane: as recorded with the attempt.
    policy: str
    # TLS before the greeting.
    implicit: bool = False
    # Against the certificate authorities and the name.
    verify: bool = False
    # DANE: one of these must match.
    tlsa: tuple[TlsaRecord, ...] = ()
    # Names that the certificate may carry under DANE-TA (RFC 7672 3.2.2).
    tlsa_names: tuple[str, ...] = ()
    # The name to ask the server for; empty: that of the host. DANE asks for the name of its records (RFC 7672 8.1).
    server_name: str = ""

    @property
    def required(self) -> bool:
        """Never in plaintext."""
        return self.implicit or self.policy not in ("none", "opportunistic")

    def refusal(self, session: ssl.SSLObject) -> str:
        """Why the server's certificate is not good enough, where ssl itself doesn't judge; empty when it is."""
        if not self.tlsa:
            return ""
        now = datetime.datetime.now(datetime.UTC)
        return "" if verify(self.tlsa, shown_chain(session), self.tlsa_names, now) else "no TLSA record matches it"


def shown_chain(session: ssl.SSLObject) -> list[bytes]:
    """The certificates that the server showed (DER), its own first, verified or not."""
    public = getattr(session, "get_unverified_chain", None)
    if public is not None:
        # Python 3.13
        return list(public())
    # ssl keeps them behind this until then; 2 is its name for DER.
    return [certificate.public_bytes(2) for certificate in session._sslobj.get_unverified_chain()]  # type: ignore[attr-defined]  # noqa: SLF001


OPPORTUNISTIC = TlsPlan("opportunistic")
NO_TLS = TlsPlan("none")


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class Contexts:
    """The process' TLS contexts, made on first use.

    Authorities are replaced while the process runs, by an update of the system or by the operator. So the verifying
    context is made anew when one of its files has changed.
    """

    def __init__(self, ca_file: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._ca_file = ca_file
        self._clock = clock
        self._verifying: ssl.SSLContext | None = None
        self._trusting: ssl.SSLContext | None = None
        files = (ssl.get_default_verify_paths().cafile, ca_file)
        self._files = tuple(Path(file) for file in files if file is not None)
        # When the files were changed, as the verifying context has them, and when that was looked at.
        self._changed_at: tuple[int, ...] = ()
        self._looked_at = 0.0

    @property
    def verifying(self) -> ssl.SSLContext:
        """Against the system's authorities, and those of the file."""
        now = self._clock()
        if self._verifying is not None and now - self._looked_at < _LOOK_SECONDS:
            return self._verifying
        self._looked_at = now
        changed_at = tuple(map(_changed_at, self._files))
        if self._verifying is None:
            self._verifying = self._made()
        elif changed_at != self._changed_at:
            try:
                self._verifying = self._made()
            except OSError as error:
                # A file on its way, or a mistake: the authorities of before go on.
                log.error("ca_certificates_not_read", reason=str(error))
        self._changed_at = changed_at
        return self._verifying

    def _made(self) -> ssl.SSLContext:
        """Raises OSError when the file cannot be read or holds no certificate."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        return context

    def of(self, plan: TlsPlan) -> ssl.SSLContext:
        if plan.verify:
            return self.verifying
        if self._trusting is None:
            # Opportunistic TLS hides mail from those who only listen; it asks no certificate for anything, and takes
            # any cipher rather than plaintext (RFC 7435 3).
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._trusting = context
        return self._trusting


def server_name(host: str) -> str | None:
    """The name for SNI and for the certificate: an A-label with no trailing dot (C128).

    For an address the certificate is checked against it and no SNI is sent (RFC 6066 3): ssl does both by itself.
    """
    bare = host.strip("[]").rstrip(".")
    bare = bare[5:] if bare.lower().startswith("ipv6:") else bare
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare.lower() if bare.isascii() else canonical_domain(bare)


class BrokenTls:
    """Hosts whose handshake failed: spoken to in plaintext for an hour where that is allowed (C127)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[tuple[str, int], float] = {}

    def remember(self, address: str, port: int) -> None:
        if len(self._until) >= _BROKEN_LIMIT:
            self._until.clear()
        self._until[address, port] = self._clock() + _BROKEN_SECONDS

    def known(self, address: str, port: int) -> bool:
        until = self._until.get((address, port))
        if until is None:
            return False
        if until <= self._clock():
            del self._until[address, port]
            return False
        return True
