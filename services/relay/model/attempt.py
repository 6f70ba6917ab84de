"""One attempt as values: what the dispatcher hands to a transport, and what comes back. Pure.

The queue's side (intake, claiming, scheduling, settling, reports) and the delivering side (routing, look-ups, SMTP,
LMTP, Maildir) meet in these types and in nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from libs.smtp.value import fast_value
from services.relay.configuration.model import Configuration, Mailbox, RelayHost


@fast_value(frozen=True, slots=True)
class OutgoingMessage:
    """A message at the moment of an attempt. `content` has CRLF lines and no dot stuffing, and is sent unchanged."""

    queue_id: str
    # Canonical; empty is `<>`.
    sender: bytes
    content: bytes
    smtputf8: bool = False
    body_8bitmime: bool = False
    # RFC 3461 RET (FULL, HDRS or empty) and ENVID as received (xtext).
    ret: str = ""
    envelope_id: bytes = b""
    account_login: str = ""
    quarantine: bool = False
    # The sender may use the author's domain though no login says so (allowed to send anywhere, or this gateway
    # itself): the message may be signed. Never for what came from outside through an alias.
    authorized: bool = False


@fast_value(frozen=True, slots=True)
class OutgoingRecipient:
    # The queue's row; echoed in the outcome.
    delivery_id: int
    # Canonical.
    address: bytes
    # RFC 3461 NOTIFY values and ORCPT as received; empty when not given.
    notify: tuple[str, ...] = ()
    original_recipient: bytes = b""


class RouteKind(Enum):
    DIRECT = "direct"
    RELAY_DOMAIN = "relay_domain"
    RELAY_HOST = "relay_host"
    MAILBOX = "mailbox"
    # Kept until an operator changes something; the reason says what.
    HOLD = "hold"
    # Bounced at once with `code`, `enhanced_code`, `reason`.
    FAIL = "fail"


@fast_value(frozen=True, slots=True)
class Route:
    """The route of one recipient under one configuration. Two recipients with equal routes share a transaction."""

    kind: RouteKind
    # Groups deliveries in the queue: domain:example.com, relay:host:port (with :login where there are several),
    # mailbox:example.com, hold, fail.
    destination: str
    # DIRECT, RELAY_DOMAIN, MAILBOX: the recipient's domain, or an address literal.
    domain: str = ""
    relay_host: RelayHost | None = None
    mailbox: Mailbox | None = None
    # RELAY_DOMAIN: the server that takes the domain's mail; None: its MX.
    next_hop: Mailbox | None = None
    # The rule that won, empty when none: a relay rule's, local domain's or relay domain's id.
    rule_id: str = ""
    code: int = 0
    enhanced_code: str = ""
    reason: str = ""


class Result(Enum):
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


@fast_value(frozen=True, slots=True)
class Outcome:
    """The result of one attempt for one recipient."""

    delivery_id: int
    result: Result
    # 0 when nothing was heard.
    code: int
    enhanced_code: str
    # Reply or own reason: sanitised, bounded, one line.
    text: str
    # The host, address and port of the last server tried; empty and 0 when none was.
    host: str = ""
    address: str = ""
    port: int = 0
    # TLS version and cipher, or empty; and how TLS was asked for: none, opportunistic, required, mta-sts, dane.
    tls: str = ""
    tls_policy: str = ""
    # The connection was lost between the final dot and its answer (C120).
    possible_duplicate: bool = False
    # False: the try did not reach a decision (421 on a reused connection): not counted as an attempt, tried again now.
    counts: bool = True
    # The next hop took over RFC 3461 duties (DSN was offered and parameters passed on).
    dsn_passed_on: bool = False
    # Hold the destination's mail and alarm (535 from a relay host, C131).
    suspend_destination: str = ""
    # True: relay found the failure itself, perhaps while it spoke to the host. Code and text are not from the host.
    own: bool = False


class Transport(Protocol):
    """The delivering side, as the dispatcher sees it. Every method is safe to cancel."""

    async def deliver(
        self,
        configuration: Configuration,
        route: Route,
        message: OutgoingMessage,
        recipients: Sequence[OutgoingRecipient],
    ) -> Sequence[Outcome]:
        """Tries once, and returns one outcome a recipient, in their order. Raises nothing but CancelledError."""
        ...

    def capacity(self, destination: str, configuration: Configuration) -> int:
        """The number of transactions that may run to this destination now; at least 1 unless it is being probed."""
        ...

    async def close(self, grace_seconds: float) -> None:
        """Ends idle connections at once and the others when their transaction ends or the time is over."""
        ...
