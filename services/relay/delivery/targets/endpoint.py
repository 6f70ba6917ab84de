"""Servers as a connection is made to them, and how a failure to have one is said. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.relay.configuration.model import RelayHostAuth
from services.relay.delivery.targets.tls import TlsPlan
from services.relay.model.outcome import Peer, Verdict


class Loop(Enum):
    """What it means when a server greets with this gateway's own name."""

    # Somebody's domain leads back to us.
    BOUNCE = "bounce"
    # The operator named the domain or host, and will put it right.
    DEFER = "defer"
    # A relay domain's own server may have the name by which this gateway stands before it. The message decides: it is
    # a loop when the message came through this gateway before (F51).
    BY_TRACE = "by_trace"
    # A mailbox server on the same machine may well have the same name.
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one host, and what a connection to it must have."""

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
    """No session with this host; another host may do."""

    def __init__(
        self,
        verdict: Verdict,
        peer: Peer,
        *,
        tls_broken: bool = False,
        is_ourselves: bool = False,
        silent: bool = False,
    ) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict
        self.peer = peer
        # The handshake failed where plaintext is allowed: worth another connection.
        self.tls_broken = tls_broken
        # Those after it in the list are no better than this gateway.
        self.is_ourselves = is_ourselves
        # It took the connection and all the time there was for an answer.
        self.silent = silent
