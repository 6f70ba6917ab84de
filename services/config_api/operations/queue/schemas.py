"""How queued and finished mail is shown, filtered and acted on."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.config_api.http.pagination import FilterText
from services.config_api.http.responses import Answer, ConfigurationWarning, Time
from services.config_api.resources.fields import DIGITS, AnyAddress, Decimal, Domain, Instant, Model, fault, ip_address
from services.config_api.resources.mailbox_servers import AnyMailboxServer

# What a delivery may be in.
KnownState = Literal[
    "active",
    "deferred",
    "held",
    "delivered",
    "bounced",
    "discarded",
    "deleted",
    "expanded",
    "rejected",
    "quarantined",
    "redirected",
]
# As it is shown: of a newer relay, one that this release does not know.
State = Literal[KnownState, "unknown"]
QueueActionName = Literal["retry", "hold", "release", "bounce", "delete"]
OptionalTime = Time | None
TlsPolicy = Literal["opportunistic", "required", "implicit", "mta-sts", "dane", "none"]
AttemptResult = Literal["delivered", "deferred", "failed"]
ReplyCode = Annotated[int | None, Field(ge=200, le=599)]
EnhancedCode = Annotated[str | None, Field(description="The code of RFC 3463.", examples=["5.7.1"])]
Stage = Literal["connect", "auth", "helo", "mail", "rcpt", "data", "end_of_data", "junk_command", "pipelining"]


class Attempt(Answer):
    """One try to deliver."""

    started_at: OptionalTime = Field(description="When it began.")
    ended_at: OptionalTime = Field(description="When it ended.")
    host: str | None = Field(description="The host that was connected to; null: none was.")
    address: str | None = Field(description="The address of the host.")
    port: int | None = Field(ge=0, le=65535, description="The TCP port.")
    tls: str | None = Field(description="The version and the cipher of TLS; null: there was none.")
    tls_policy: TlsPolicy | None = Field(description="What TLS had to be.")
    result: AttemptResult | None = Field(description="What became of the recipient.")
    code: ReplyCode = Field(description="The code of the reply; null: there was no reply.")
    enhanced_code: EnhancedCode
    text: str = Field(description="The text of the reply, or our reason.")
    possible_duplicate: bool = Field(description="The connection was lost between the final dot and its answer.")
    worker: str = Field(description="The process of relay that did it.")


class Delivery(Answer):
    """One recipient of a message."""

    id: str = Field(description="Its id.")
    recipient: str = Field(description="A recipient's address.")
    original_recipient: str | None = Field(description="As submitted, when an alias or a redirect replaced it.")
    state: State = Field(description="Where its delivery stands.")
    destination: str = Field(description="Where it goes: domain:NAME, relay:HOST:PORT or mailbox:NAME.")
    next_hop: str | None = Field(
        description="host:port of the server that it was redirected to; null: the configuration decides where it goes."
    )
    attempts: int = Field(ge=0, le=1_000_000, description="Number of attempts so far.")
    due_at: OptionalTime = Field(description="When the next attempt is due.")
    expires_at: OptionalTime = Field(description="When it is given up; null: it is finished.")
    finished_at: OptionalTime = Field(description="When it was finished; null: it is not.")
    last_attempt: Attempt | None = Field(description="The newest attempt; null: none yet.")
    history: list[Attempt] = Field(description="All attempts, oldest first.")
    possible_duplicate: bool = Field(description="The recipient may have got it twice.")


class ShadowResult(Answer):
    """What a rule in shadow mode would have refused."""

    reason_id: str = Field(description="Name of the rule.", examples=["dnsbl_listed"])
    rule_id: str | None = Field(description="The access rule's id; null: it is none.")


class SessionVerdict(Answer):
    """A verdict in the session of a message. Verdicts to which no rule contributed are not recorded."""

    stage: str = Field(description="The stage of the session.", examples=["rcpt"])
    action: str = Field(description="accept, reject or discard.", examples=["reject"])
    code: int | None = Field(description="The reply's code; null: it was not rejected.", examples=[554])
    enhanced_code: str | None = Field(description="RFC 3463 code; null: it was not rejected.", examples=["5.7.1"])
    reason_id: str | None = Field(description="Name of the rule that decided; null: none did.")
    rule_id: str | None = Field(description="Id of the access rule or setting that decided; null: none did.")
    shadow: list[ShadowResult] = Field(description="What rules in shadow mode would have refused.")


class TimelineEvent(Answer):
    """Something that happened to a message."""

    occurred_at: OptionalTime = Field(description="When it happened.")
    event: str = Field(
        description="What happened: stored, refused, expanded, discarded, delivered, deferred, bounced, expired, or "
        "what an operator did.",
        examples=["stored"],
    )
    recipient: str | None = Field(description="The recipient that it happened to; null: all of them.")
    detail: str | None = Field(description="What was found.")
    actor: str | None = Field(description="The name of the API key, for what an operator did.")
    verdict: SessionVerdict | None = Field(description="What policy decided; null: the event is another one.")
    attempt: Attempt | None = Field(description="The attempt that led to the event; null: none did.")


class Origin(Answer):
    """Where the message came from."""

    session_id: str | None = Field(description="The id of the session; null: it is a report of ours.")
    client_address: str | None = Field(description="The IP address of the client.")
    helo_name: str | None = Field(description="The name given with HELO or EHLO.")
    account_login: str | None = Field(description="The account that was logged in; null: none.")
    listener: Literal["smtp", "submission", "submissions"] | None = Field(description="Where the session came in.")
    tls: bool = Field(description="Whether TLS was on.")


class Message(Answer):
    """A message, queued or finished."""

    queue_id: str = Field(description="Its id in the queue.")
    submission_id: str | None = Field(description="Its id between ingress and relay.")
    sender: str | None = Field(description="The envelope sender; null: the null sender.")
    size: int = Field(description="Octets.")
    received_at: OptionalTime = Field(description="When it was received.")
    origin: Origin
    state: State = Field(description="The least finished state of its deliveries.")
    deliveries: list[Delivery] = Field(description="One a recipient; in lists the first few.")
    delivery_count: int = Field(ge=0, le=1_000_000, description="Number of deliveries in all.")
    timeline: list[TimelineEvent] = Field(description="What happened to it, oldest first; with one message only.")
    header: str | None = Field(description="The header, when asked for.")
    envelope_id: str | None = Field(description="ENVID of RFC 3461.")
    message_id: str | None = Field(
        description="Message-ID of the header without its angle brackets; null: it has none, or it was not stored."
    )
    subject: str | None = Field(description="Its subject; null: it was not stored (keep_subjects).")
    smtputf8: bool = Field(description="Whether it needs SMTPUTF8.")
    quarantine: bool = Field(description="Whether it is marked for quarantine.")
    code: ReplyCode = Field(description="Of refused messages: the code of the reply.")
    enhanced_code: EnhancedCode
    text: str | None = Field(description="Of refused messages: the text of the reply.")
    reason_id: str | None = Field(description="Of refused messages: the constant name of the rule that refused.")
    rule_id: str | None = Field(description="The id of the access rule that refused.")
    stage: Stage | None = Field(description="The stage of the session that it was refused at.")


class MessagePage(Answer):
    """A page of messages."""

    items: list[Message] = Field(description="The page's items.")
    next_cursor: str | None = Field(description="cursor of the next page; null: this is the last.")


class Destination(Answer):
    """Where queued mail goes."""

    name: str = Field(description="Its name.", examples=["domain:example.com"])
    queued: int = Field(description="Deliveries in all.")
    active: int = Field(description="Deliveries due now or being tried.")
    deferred: int = Field(description="Deliveries that wait for their next attempt.")
    held: int = Field(description="Deliveries that are held.")
    oldest_at: OptionalTime = Field(description="When the oldest message was received.")
    last_error: str | None = Field(description="The newest failure, in a line.")
    last_error_at: OptionalTime = Field(description="When that was.")
    suspended: bool = Field(description="Whether it is suspended.")
    suspended_until: OptionalTime = Field(description="When the suspension ends; null: when it is resumed.")
    suspended_by: str | None = Field(description="Who suspended it.")
    next_due_at: OptionalTime = Field(description="When the next attempt is due.")


class SuspendedDestination(Destination):
    """A destination that was just suspended."""

    warnings: list[ConfigurationWarning] = Field(description="Doubts about the name of the destination.")


class DestinationPage(Answer):
    """A page of destinations."""

    items: list[Destination] = Field(description="The page's items.")
    next_cursor: str | None = Field(description="cursor of the next page; null: this is the last.")


class ActionProgress(Answer):
    """What an action did, or with dry_run would do."""

    matched: int = Field(description="Deliveries that the selection holds.")
    acted: int = Field(description="Deliveries that were changed.")
    skipped: int = Field(description="Deliveries being tried right now, or in a state that the action is not for.")
    done: bool = Field(description="false: more progress follows.")


def _client(text: str) -> str:
    """As it is stored, where it is an address: an IPv4-mapped one is IPv4."""
    try:
        return ip_address(text)
    except ValueError:
        return text


MessageId = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\u0000-\u001f\u007f]+$")]
FilteredAddress = Annotated[FilterText, AfterValidator(_client)]


class MessageFilter(BaseModel):
    """What messages must be; each that is given must hold."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sender: AnyAddress | None = Field(default=None, description="Envelope sender.")
    recipient: AnyAddress | None = Field(default=None, description="A recipient.")
    sender_domain: Domain | None = Field(default=None, description="Domain of the sender.")
    recipient_domain: Domain | None = Field(default=None, description="Domain of a recipient.")
    state: KnownState | None = Field(default=None, description="State of a delivery.")
    destination: FilterText | None = Field(default=None, description="A destination's name.")
    received_after: Instant | None = Field(default=None, description="Received at this time or later.")
    received_before: Instant | None = Field(default=None, description="Received before this time.")
    last_reply_contains: FilterText | None = Field(
        default=None, description="Text in the last reply, without regard to case; no wildcards."
    )
    account_login: FilterText | None = Field(default=None, description="Login that sent it.")
    client_address: FilteredAddress | None = Field(
        default=None, description="The IP address of the client that sent it."
    )
    attempts_at_least: int | None = Field(default=None, ge=1, le=1_000_000, description="So many attempts or more.")
    session_id: FilterText | None = Field(default=None, description="The session that it came in.")
    message_id: MessageId | None = Field(
        default=None, description="Message-ID of the header, with or without its angle brackets; compared with case."
    )
    envelope_id: FilterText | None = Field(default=None, description="ENVID of RFC 3461, as it was sent.")
    queue_id: FilterText | None = Field(default=None, description="Its id in the queue.")
    address_contains: FilterText | None = Field(
        default=None,
        description="Part of the sender's or a recipient's address, without regard to case; no wildcards. Give "
        "received_after and received_before too: then only that time is searched.",
    )
    subject_contains: FilterText | None = Field(
        default=None,
        description="Part of the subject, without regard to case; no wildcards. It finds messages that came while "
        "keep_subjects of the queue settings was on.",
    )
    rule_id: FilterText | None = Field(
        default=None, description="Id of an access rule or setting that decided at some stage of the session."
    )
    reason_id: FilterText | None = Field(
        default=None, description="Name of a rule that refused or discarded something in the session."
    )
    shadow_reason_id: FilterText | None = Field(
        default=None, description="Name of a rule in shadow mode that would have refused."
    )
    shadow_rule_id: FilterText | None = Field(
        default=None, description="Id of an access rule in shadow mode that would have refused."
    )


class MessageQuery(MessageFilter):
    """A page of the messages that match."""

    # In a query everything is text.
    model_config = ConfigDict(strict=False)

    attempts_at_least: Annotated[int, Field(ge=1, le=1_000_000), DIGITS] | None = Field(
        default=None, description="So many attempts or more."
    )
    limit: Decimal = Field(default=100, ge=1, le=1000, description="Messages in the page, at most.")
    cursor: str | None = Field(default=None, max_length=4096, description="next_cursor of the page before.")


class MessageSelection(Model):
    """The messages to act on."""

    filter: MessageFilter = Field(description="At least one member must be given.")


class MessageRedirect(Model):
    """Where mail goes instead. Exactly one member must be given."""

    recipient: AnyAddress | None = Field(
        default=None, description="The recipient that takes the place of those that the message has."
    )
    next_hop: AnyMailboxServer | None = Field(
        default=None,
        description="The server that the mail goes to, whatever the configuration says, until another redirect. It is "
        "used without a login.",
    )
    configured_route: bool = Field(
        default=False, description="true: the configuration decides again, and no next hop that was given before."
    )

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if [self.recipient is not None, self.next_hop is not None, self.configured_route].count(True) != 1:
            raise fault("one_target", "exactly one of recipient, next_hop and configured_route must be given")
        return self

    @property
    def text(self) -> str:
        """The redirect as the audit log tells it."""
        if self.recipient is not None:
            return f"to {self.recipient}"
        if self.next_hop is not None:
            return f"to the next hop {self.next_hop.host}:{self.next_hop.port}"
        return "to the configured route"


class MessageSelectionRedirect(MessageRedirect):
    """The messages to redirect, and where they go. Exactly one member must be given besides the filter."""

    filter: MessageFilter = Field(description="At least one member must be given.")


class Suspension(Model):
    """How long a destination is suspended."""

    until: Instant | None = Field(default=None, description="When it ends; null: when the destination is resumed.")
