"""Messages and deliveries as values, from intake to report. Times are in microseconds since 1970.
This module is pure.
"""

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
    """The session and the client from which a message came."""

    session_id: str = ""
    client_address: str = ""
    helo_name: bytes = b""
    account_login: str = ""
    listener: str = ""
    tls: bool = False
    # Whether the client may send to any domain, because of its login or its network.
    may_relay: bool = False


OURSELVES = Origin()


@fast_value(frozen=True, slots=True)
class SessionVerdict:
    """A verdict of policy in which a rule matched, or a rule in shadow mode would have matched. `stage` has the form
    CONNECT or RCPT.
    """

    at: int
    stage: str
    # One of accept, reject, discard.
    action: str
    # The codes of the reply, for reject only.
    code: int = 0
    enhanced_code: str = ""
    reason_id: str = ""
    rule_id: str = ""
    # The reason and the rule of each rule in shadow mode that would have refused.
    shadow: tuple[tuple[str, str], ...] = ()


@fast_value(frozen=True, slots=True)
class NewDelivery:
    """A recipient as it is first stored."""

    id: int
    recipient: bytes
    state: State
    destination: str = ""
    # The recipient as submitted, when it was replaced because of an alias or a role.
    submitted_recipient: bytes = b""
    # NOTIFY and ORCPT of RFC 3461, as received.
    notify: tuple[str, ...] = ()
    orcpt: bytes = b""
    # The reason why the recipient is not queued, in the JSON form of an attempt. Empty when the recipient is queued.
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
    # The id of the submission. It is None for messages that relay made itself.
    submission_id: str | None = None
    origin: Origin = OURSELVES
    ret: str = ""
    envelope_id: bytes = b""
    smtputf8: bool = False
    body_8bitmime: bool = False
    quarantine: bool = False
    sweep_at: int | None = None
    # The destinations whose deliveries are stored without a lease. These deliveries wait in the database until they are
    # claimed.
    unleased: frozenset[str] = frozenset()
    # The source that the message counts against (`source_of`). For a report, it is the source of the message that
    # caused it.
    source: str = ""
    # The W3C trace context that the attempts join. Empty means none.
    traceparent: str = ""
    # The subject. It is empty when subjects are not stored.
    subject: str = ""
    verdicts: tuple[SessionVerdict, ...] = ()
    # The results of content checks for the timeline: id and text of each event.
    check_results: tuple[tuple[int, str], ...] = ()

    @property
    def waiting(self) -> tuple[NewDelivery, ...]:
        """Returns the deliveries that must be tried."""
        for each in self.deliveries:
            if each.state is not State.QUEUED:
                return tuple(delivery for delivery in self.deliveries if delivery.state is State.QUEUED)
        return self.deliveries


@fast_value(frozen=True, slots=True)
class Refused:
    """A message that was refused or discarded, for the history."""

    id: int
    origin: Origin
    sender: bytes
    # The id and the address of each recipient.
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
    # The results of content checks, as in NewMessage.
    check_results: tuple[tuple[int, str], ...] = ()


@fast_value(frozen=True, slots=True)
class QueuedMessage:
    """A message of which this process has leased deliveries."""

    id: int
    kind: Kind
    sender: bytes
    size: int
    stored_at: int
    # The content. It is None when it was not read from the database.
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
        """Returns the message in the form that a transport needs. Its content must have been read."""
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
            # Messages that this gateway wrote itself may be signed with DKIM.
            self.may_relay or self.kind is not Kind.MAIL,
        )


@fast_value(frozen=True, slots=True)
class QueuedDelivery:
    """A delivery that this process has leased."""

    id: int
    recipient: bytes
    # The id of the worker that leased the delivery. No other id can settle it.
    lease_owner: int
    submitted_recipient: bytes = b""
    notify: tuple[str, ...] = ()
    orcpt: bytes = b""
    attempts: int = 0
    # The number of tries in a row that did not count (Outcome.counts).
    uncounted: int = 0
    # Whether an earlier try may have been successful (C120).
    possible_duplicate: bool = False
    # The time at which the delivery became due. If its lease is given up, this time decides its place in the order
    # again.
    due_at: int = 0
    # The next hop that an operator chose for the delivery. None means that the configuration decides.
    next_hop: Mailbox | None = None

    def outgoing(self) -> OutgoingRecipient:
        return OutgoingRecipient(self.id, self.recipient, self.notify, self.orcpt)


def queued(
    message: NewMessage, waiting: Sequence[NewDelivery], stored_at: int, owner: int
) -> tuple[QueuedMessage, tuple[QueuedDelivery, ...]]:
    """Returns a message that was just stored, with those of its deliveries that are leased to the process that stored
    it.
    """
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
    """Returns the source whose share the message uses: the account, or the client's /24 or /64 network."""
    if account_login:
        return f"account:{account_login}"
    if ":" not in client_address:
        return f"network:{client_address.rpartition('.')[0]}.0/24" if client_address else ""
    try:
        return f"network:{counter_key(client_address)}"
    except ValueError:
        return ""


def queue_id(message_id: int) -> str:
    """Returns the name of a message in logs, replies and the API."""
    return f"{message_id:X}"


def message_id(text: str) -> int | None:
    """Returns the message id for a queue id, or None when the text is not a queue id."""
    try:
        number = int(text, 16) if 0 < len(text) <= 16 and text.isalnum() and text.isascii() else -1
    except ValueError:
        return None
    return number if 0 <= number < 2**63 else None


def domain_of(address: bytes) -> str:
    """Returns the domain of a canonical address. The result is empty for `<>` and `postmaster`."""
    _, at, domain = address.rpartition(b"@")
    return domain.decode("ascii", "replace") if at else ""


def distinct(recipients: Sequence[bytes]) -> list[bytes]:
    """Returns the values in their order, without repetitions."""
    return list(dict.fromkeys(recipients))


@fast_value(frozen=True, slots=True)
class Settled:
    """The new state of one delivery. `attempt` is None when none was made and only the lease is given up."""

    delivery_id: int
    state: State
    destination: str
    due_at: int | None
    attempts: int
    # The attempt as JSON. `started_at` is different for each attempt of the delivery.
    attempt: str | None = None
    started_at: int = 0
    reply: str = ""
    possible_duplicate: bool = False


class Action(Enum):
    """The action of a report (RFC 3464 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@fast_value(frozen=True, slots=True)
class ReportedRecipient:
    """The part of a report about one recipient. Times are in microseconds since 1970."""

    address: bytes
    action: Action
    # The RFC 3463 code. Its class fits the action: 5 or 4 for failure (4.4.7 after expiry), 4 for delay, otherwise 2.
    status: str
    # ORCPT as received (addr-type;xtext). It is empty when it was not given.
    orcpt: bytes = b""
    # The code of the reply. It is 0 when relay found the failure itself.
    code: int = 0
    text: str = ""
    # The server that gave the reply. It is empty when no server gave one.
    remote_host: str = ""
    last_attempt_at: int | None = None
    will_retry_until: int | None = None
    # The recipient to which the sender wrote, when `address` replaced it because of an alias or a role.
    submitted_recipient: bytes = b""
