"""How a connection is secured: the TLS contexts, the checks of a certificate, and the hosts whose TLS is broken."""

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
# The time between two checks whether the files of certificate authorities have changed.
_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TlsPlan:
    """The TLS that a connection needs."""

    # One of none, opportunistic, required, mta-sts, dane: the value that is recorded with the attempt.
    policy: str
    # Whether TLS begins before the greeting (implicit TLS).
    implicit: bool = False
    # Whether the certificate is checked against the certificate authorities and the name of the host.
    verify: bool = False
    # The TLSA records for DANE, of which one must match.
    tlsa: tuple[TlsaRecord, ...] = ()
    # The names that the certificate may have with DANE-TA (RFC 7672 3.2.2).
    tlsa_names: tuple[str, ...] = ()
    # The name for SNI. Empty means the name of the host. DANE uses the name of its records (RFC 7672 8.1).
    server_name: str = ""

    @property
    def required(self) -> bool:
        """Whether plaintext is forbidden."""
        return self.implicit or self.policy not in ("none", "opportunistic")

    def refusal(self, session: ssl.SSLObject) -> str:
        """Makes the checks of the server's certificate that ssl itself does not make. Returns the reason why the
        certificate is not accepted, or the empty text when it is accepted.
        """
        if not self.tlsa:
            return ""
        now = datetime.datetime.now(datetime.UTC)
        return "" if verify(self.tlsa, shown_chain(session), self.tlsa_names, now) else "no TLSA record matches it"


def shown_chain(session: ssl.SSLObject) -> list[bytes]:
    """Returns the certificates that the server sent (DER), its own first, whether they were verified or not."""
    public = getattr(session, "get_unverified_chain", None)
    if public is not None:
        # Python 3.13 has this public method.
        return list(public())
    # Before Python 3.13 the method is on this private object. 2 is its constant for DER.
    return [certificate.public_bytes(2) for certificate in session._sslobj.get_unverified_chain()]  # type: ignore[attr-defined]  # noqa: SLF001


OPPORTUNISTIC = TlsPlan("opportunistic")
NO_TLS = TlsPlan("none")


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class Contexts:
    """The TLS contexts of the process, which are made when they are first used.

    An update of the system, or the operator, may replace the authorities while the process runs. So the verifying
    context is made anew when one of its files has changed.
    """

    def __init__(self, ca_file: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._ca_file = ca_file
        self._clock = clock
        self._verifying: ssl.SSLContext | None = None
        self._trusting: ssl.SSLContext | None = None
        files = (ssl.get_default_verify_paths().cafile, ca_file)
        self._files = tuple(Path(file) for file in files if file is not None)
        # The times at which the files had changed at the last check, and the time of that check.
        self._changed_at: tuple[int, ...] = ()
        self._looked_at = 0.0

    @property
    def verifying(self) -> ssl.SSLContext:
        """Returns the context that checks certificates against the authorities of the system, and those of the file."""
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
                # The file is being written, or has a fault. The authorities that were read before stay in use.
                log.error("ca_certificates_not_read", reason=str(error))
        self._changed_at = changed_at
        return self._verifying

    def _made(self) -> ssl.SSLContext:
        """Makes the verifying context. Raises OSError when the file cannot be read or contains no certificate."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        return context

    def of(self, plan: TlsPlan) -> ssl.SSLContext:
        if plan.verify:
            return self.verifying
        if self._trusting is None:
            # Opportunistic TLS protects mail only from passive listeners. It checks no certificate, and uses any cipher
            # rather than plaintext (RFC 7435 3).
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._trusting = context
        return self._trusting


def server_name(host: str) -> str | None:
    """Returns the name for SNI and for the check of the certificate, in A-labels and without a trailing dot (C128).

    For an IP address, ssl checks the certificate against the address, and sends no SNI (RFC 6066 3).
    """
    bare = host.strip("[]").rstrip(".")
    bare = bare[5:] if bare.lower().startswith("ipv6:") else bare
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare.lower() if bare.isascii() else canonical_domain(bare)


class BrokenTls:
    """The hosts whose TLS handshake failed. For an hour, relay connects to them in plaintext, where that is allowed
    (C127).
    """

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
