"""One attempt as values: the input that the dispatcher gives to a transport, and the outcomes that it returns. This
module is pure.

Relay has two parts that share only these types: the part for queueing (intake, claiming, scheduling, settling, reports)
and the part for delivery (routing, look-ups, SMTP, LMTP, Maildir).
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
    # The sender in canonical form. Empty stands for `<>`.
    sender: bytes
    content: bytes
    smtputf8: bool = False
    body_8bitmime: bool = False
    # RET (FULL, HDRS or empty) and ENVID of RFC 3461 as received (ENVID as xtext).
    ret: str = ""
    envelope_id: bytes = b""
    account_login: str = ""
    quarantine: bool = False
    # Whether the message may be signed with DKIM even without a login, because its sender may send anywhere or is this
    # gateway itself. Mail from outside that passes through an alias is never signed.
    authorized: bool = False


@fast_value(frozen=True, slots=True)
class OutgoingRecipient:
    # The id of the row in the queue. The outcome has the same id.
    delivery_id: int
    # In canonical form.
    address: bytes
    # NOTIFY and ORCPT of RFC 3461 as received. They are empty when the client did not give them.
    notify: tuple[str, ...] = ()
    original_recipient: bytes = b""


class RouteKind(Enum):
    DIRECT = "direct"
    RELAY_DOMAIN = "relay_domain"
    RELAY_HOST = "relay_host"
    MAILBOX = "mailbox"
    # The delivery is held until an operator changes something. The reason says what to change.
    HOLD = "hold"
    # The delivery bounces at once with `code`, `enhanced_code` and `reason`.
    FAIL = "fail"


@fast_value(frozen=True, slots=True)
class Route:
    """The route of one recipient under one configuration. Two recipients with equal routes share a transaction."""

    kind: RouteKind
    # The name by which the queue groups deliveries: domain:example.com, relay:host:port (with :login where there are
    # several logins), mailbox:example.com, hold, quarantine, fail.
    destination: str
    # For DIRECT, RELAY_DOMAIN and MAILBOX: the domain of the recipient, or an address literal.
    domain: str = ""
    relay_host: RelayHost | None = None
    mailbox: Mailbox | None = None
    # For RELAY_DOMAIN: the server that accepts the mail of the domain. None means its MX hosts.
    next_hop: Mailbox | None = None
    # The id of the rule that decided: of a relay rule, local domain or relay domain. It is empty when none did.
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
    # The code of the reply. It is 0 when there was no reply.
    code: int
    enhanced_code: str
    # The reply or our own reason: sanitised, of bounded length, on one line.
    text: str
    # The host, address and port of the last server that was tried. Empty and 0 when none was tried.
    host: str = ""
    address: str = ""
    port: int = 0
    # The TLS version and cipher, or empty; and the TLS plan: none, opportunistic, required, mta-sts, dane.
    tls: str = ""
    tls_policy: str = ""
    # Whether the connection was lost between the final dot and the answer to it (C120).
    possible_duplicate: bool = False
    # False when the try decided nothing (for example 421 on a reused connection). It does not count as an attempt, and
    # the delivery is tried again now.
    counts: bool = True
    # Whether the next hop took over the duties of RFC 3461, because it offered DSN and got the parameters.
    dsn_passed_on: bool = False
    # A destination that must be suspended, with an alert (for example after 535 from a relay host, C131).
    suspend_destination: str = ""
    # Whether relay found the failure itself, perhaps during the session. Then code and text are not from the host.
    own: bool = False


class Transport(Protocol):
    """The interface of the part for delivery that the dispatcher uses. Every method may be cancelled at any time."""

    async def deliver(
        self,
        configuration: Configuration,
        route: Route,
        message: OutgoingMessage,
        recipients: Sequence[OutgoingRecipient],
    ) -> Sequence[Outcome]:
        """Makes one attempt. Returns one outcome for each recipient, in their order. Raises only CancelledError."""
        ...

    def capacity(self, destination: str, configuration: Configuration) -> int:
        """Returns the number of transactions that may run to this destination now. It is at least 1, except while a
        dead destination waits for its next try.
        """
        ...

    async def close(self, grace_seconds: float) -> None:
        """Closes idle connections at once. Others are closed when their transaction ends. The longest wait for that is
        `grace_seconds`.
        """
        ...
