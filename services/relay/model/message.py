"""Messages and deliveries as values, from intake to report. Times in microseconds since 1970. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from libs.smtp.network import counter_key
from libs.smtp.value import fast_value
from services.relay.configuration.model import Mailbox
from services.relay.model.attempt import OutgoingMessage, OutgoingRecipient
from services.relay.model.states import Kind, State


@fast_value(frozen=True, slots=True)
class Origin:
    """The session and client that a message came from."""

    session_id: str = ""
    client_address: str = ""
    helo_name: bytes = b""
    account_login: str = ""
    listener: str = ""
    tls: bool = False
    # The client may send to any domain, by its login or by its network.
    may_relay: bool = False


OURSELVES = Origin()


@fast_value(frozen=True, slots=True)
class SessionVerdict:
    """A verdict of policy in which a rule matched, or would have in shadow mode. `stage` as CONNECT or RCPT."""

    at: int
    stage: str
    # accept, reject or discard
    action: str
    # reject only: the reply's.
    code: int = 0
    enhanced_code: str = ""
    reason_id: str = ""
    rule_id: str = ""
    # Reason and rule of each rule in shadow mode that would have acted.
    shadow: tuple[tuple[str, str], ...] = ()


@fast_value(frozen=True, slots=True)
class NewDelivery:
    """A recipient as it is stored first."""

    id: int
    recipient: bytes
    state: State
    destination: str = ""
    # The recipient as submitted, when an alias or a role replaced it.
    submitted_recipient: bytes = b""
    # RFC 3461, as received.
    notify: tuple[str, ...] = ()
    orcpt: bytes = b""
    # Why it is not queued, as JSON of an attempt's form; empty when it is.
    record: str = ""
    reply: str = ""


@fast_value(frozen=True, slots=True)
class NewMessage:
    """A message as it is first stored."""

    id: int
    kind: Kind
    sender: bytes
    content: bytes
    received_at: int
    deliveries: tuple[NewDelivery, ...]
    # None for messages that relay made itself.
    submission_id: str | None = None
    origin: Origin = OURSELVES
    ret: str = ""
    envelope_id: bytes = b""
    smtputf8: bool = False
    body_8bitmime: bool = False
    quarantine: bool = False
    sweep_at: int | None = None
    # Destinations whose deliveries are stored without a lease: they wait in the database until they are claimed.
    unleased: frozenset[str] = frozenset()
    # The source that the message counts against (`source_of`); for a report, the source that caused it.
    source: str = ""
    # W3C trace context that attempts belong to; empty: none.
    traceparent: str = ""
    # Empty where subjects are not stored.
    subject: str = ""
    verdicts: tuple[SessionVerdict, ...] = ()
    # The results of content checks for the timeline: identifier and text of each event.
    check_results: tuple[tuple[int, str], ...] = ()

    @property
    def waiting(self) -> tuple[NewDelivery, ...]:
        """The deliveries that are to be tried."""
        for each in self.deliveries:
            if each.state is not State.QUEUED:
                return tuple(delivery for delivery in self.deliveries if delivery.state is State.QUEUED)
        return self.deliveries


@fast_value(frozen=True, slots=True)
class Refused:
    """A message that was refused, for the history."""

    id: int
    origin: Origin
    sender: bytes
    # Identifier and address.
    recipients: tuple[tuple[int, bytes], ...]
    code: int
    enhanced_code: str
    text: str
    reason_id: str
    rule_id: str
    stage: str
    refused_at: int
    discarded: bool
    message_id: str = ""
    verdicts: tuple[SessionVerdict, ...] = ()
    # As NewMessage.check_results.
    check_results: tuple[tuple[int, str], ...] = ()


@fast_value(frozen=True, slots=True)
class QueuedMessage:
    """A message whose deliveries this process has leased."""

    id: int
    kind: Kind
    sender: bytes
    size: int
    stored_at: int
    # None: still in the database.
    content: bytes | None
    ret: str = ""
    envelope_id: bytes = b""
    smtputf8: bool = False
    body_8bitmime: bool = False
    quarantine: bool = False
    account_login: str = ""
    helo_name: bytes = b""
    session_id: str = ""
    traceparent: str = ""
    may_relay: bool = False
    # The source that the message counts against (`source_of`).
    source: str = ""

    def with_content(self, content: bytes) -> QueuedMessage:
        return replace(self, content=content)

    def outgoing(self) -> OutgoingMessage:
        """The message as a transport needs it. Its content must have been read."""
        return OutgoingMessage(
            queue_id(self.id),
            self.sender,
            self.content or b"",
            self.smtputf8,
            self.body_8bitmime,
            self.ret,
            self.envelope_id,
            self.account_login,
            self.quarantine,
            # Messages that this gateway wrote itself may be signed.
            self.may_relay or self.kind is not Kind.MAIL,
        )


@fast_value(frozen=True, slots=True)
class QueuedDelivery:
    """A delivery that this process has leased."""

    id: int
    recipient: bytes
    # The worker identity under which it was leased: settling under another is refused.
    lease_owner: int
    submitted_recipient: bytes = b""
    notify: tuple[str, ...] = ()
    orcpt: bytes = b""
    attempts: int = 0
    # Tries in a row that did not count (Outcome.counts).
    uncounted: int = 0
    # A try before may have been successful (C120).
    possible_duplicate: bool = False
    # When it became due: its place in the order, should it be given back.
    due_at: int = 0
    # The next hop that an operator redirected it to; None: the configuration decides.
    next_hop: Mailbox | None = None

    def outgoing(self) -> OutgoingRecipient:
        return OutgoingRecipient(self.id, self.recipient, self.notify, self.orcpt)


def queued(
    message: NewMessage, waiting: Sequence[NewDelivery], stored_at: int, owner: int
) -> tuple[QueuedMessage, tuple[QueuedDelivery, ...]]:
    """A message that was just stored, with those of its deliveries that are leased to its receiver."""
    return (
        QueuedMessage(
            message.id,
            message.kind,
            message.sender,
            len(message.content),
            stored_at,
            message.content,
            message.ret,
            message.envelope_id,
            message.smtputf8,
            message.body_8bitmime,
            message.quarantine,
            message.origin.account_login,
            message.origin.helo_name,
            message.origin.session_id,
            message.traceparent,
            message.origin.may_relay,
            message.source,
        ),
        tuple(
            QueuedDelivery(
                each.id, each.recipient, owner, each.submitted_recipient, each.notify, each.orcpt, due_at=stored_at
            )
            for each in waiting
        ),
    )


def source_of(account_login: str, client_address: str) -> str:
    """The source that a message counts against where something is shared: the account, or the client's /24 or /64."""
    if account_login:
        return f"account:{account_login}"
    if ":" not in client_address:
        return f"network:{client_address.rpartition('.')[0]}.0/24" if client_address else ""
    try:
        return f"network:{counter_key(client_address)}"
    except ValueError:
        return ""


def queue_id(message_id: int) -> str:
    """The name of a message in logs, replies and the API."""
    return f"{message_id:X}"


def message_id(text: str) -> int | None:
    """The message of a queue id; None for text that is none."""
    try:
        number = int(text, 16) if 0 < len(text) <= 16 and text.isalnum() and text.isascii() else -1
    except ValueError:
        return None
    return number if 0 <= number < 2**63 else None


def domain_of(address: bytes) -> str:
    """The domain of a canonical address, empty for `<>` and `postmaster`."""
    _, at, domain = address.rpartition(b"@")
    return domain.decode("ascii", "replace") if at else ""


def distinct(recipients: Sequence[bytes]) -> list[bytes]:
    """The values in their order, each of them once."""
    return list(dict.fromkeys(recipients))


@fast_value(frozen=True, slots=True)
class Settled:
    """The new state of one delivery. `attempt` None: none was made, it is only given back."""

    delivery_id: int
    state: State
    destination: str
    due_at: int | None
    attempts: int
    # JSON; `started_at` makes it unique among those of the delivery.
    attempt: str | None = None
    started_at: int = 0
    reply: str = ""
    possible_duplicate: bool = False


class Action(Enum):
    """RFC 3464 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@fast_value(frozen=True, slots=True)
class ReportedRecipient:
    """The part of a report about one recipient. Times in microseconds since 1970."""

    address: bytes
    action: Action
    # RFC 3463, of the class that the action wants: 5 or 4 on failure (4.4.7 on expiry), 4 on delay, 2 otherwise.
    status: str
    # ORCPT as received (addr-type;xtext); empty when not given.
    orcpt: bytes = b""
    # 0: our own finding.
    code: int = 0
    text: str = ""
    # The server that gave the reply; empty when none did.
    remote_host: str = ""
    last_attempt_at: int | None = None
    will_retry_until: int | None = None
    # The recipient that was written to, where an alias or a role replaced it by `address`.
    submitted_recipient: bytes = b""
