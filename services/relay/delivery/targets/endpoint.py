"""The addresses that relay connects to, and the error that says why a host gave no session. This module is pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.relay.configuration.model import RelayHostAuth
from services.relay.delivery.targets.tls import TlsPlan
from services.relay.model.outcome import Peer, ReplyMeaning


class Loop(Enum):
    """The meaning of a greeting with this gateway's own name."""

    # Somebody's domain has an MX record that leads back to this gateway.
    BOUNCE = "bounce"
    # The operator configured this domain or host, and can correct the mistake: the mail waits.
    DEFER = "defer"
    # A relay domain's own server may use the same name as this gateway, which stands in front of it. So the mail
    # loops only when its trace fields show that it came through this gateway before (F51).
    BY_TRACE = "by_trace"
    # A mailbox server on the same machine may well have the same name.
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one host, with the TLS that a connection to it needs."""

    host: str
    address: str
    port: int
    tls: TlsPlan
    auth: RelayHostAuth | None = None
    lmtp: bool = False
    loop: Loop = Loop.BOUNCE

    def peer(self, tls: str = "") -> Peer:
        return Peer(self.host, self.address, self.port, tls, self.tls.policy)


class HostFailedError(Exception):
    """No session with this host could be opened. Another host may accept the mail."""

    def __init__(
        self,
        meaning: ReplyMeaning,
        peer: Peer,
        *,
        tls_broken: bool = False,
        is_ourselves: bool = False,
        silent: bool = False,
    ) -> None:
        super().__init__(meaning.text)
        self.meaning = meaning
        self.peer = peer
        # Whether the TLS handshake failed and plaintext is allowed. Then the caller may connect again without TLS.
        self.tls_broken = tls_broken
        # Whether the host is this gateway. Then the hosts after it in the list must not be tried either (RFC 5321 5.1).
        self.is_ourselves = is_ourselves
        # Whether the host accepted the connection, but sent no answer before the time-out.
        self.silent = silent
