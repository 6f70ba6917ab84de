"""How a connection is secured: the contexts, what is asked of a certificate, and hosts whose TLS is broken."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from libs.smtp.address import canonical_domain
from libs.smtp.value import value
from services.relay.delivery.targets.dane import TlsaRecord, verify

_BROKEN_SECONDS = 3600.0
_BROKEN_LIMIT = 10_000


@value(frozen=True, slots=True)
class TlsPlan:
    """What a connection must have."""

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


class Contexts:
    """The process' TLS contexts, made on first use."""

    def __init__(self, ca_file: Path | None) -> None:
        self._ca_file = ca_file
        self._verifying: ssl.SSLContext | None = None
        self._trusting: ssl.SSLContext | None = None

    @property
    def verifying(self) -> ssl.SSLContext:
        """Against the system's authorities, and those of the file."""
        if self._verifying is None:
            self._verifying = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
            if self._ca_file is not None:
                self._verifying.load_verify_locations(self._ca_file)
        return self._verifying

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
