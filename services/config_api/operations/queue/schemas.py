"""The schemas of queued and finished mail, of its filters, and of its actions."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.config_api.http.pagination import FilterText
from services.config_api.http.responses import Answer, ConfigurationWarning, Time
from services.config_api.resources.fields import DIGITS, AnyAddress, Decimal, Domain, Instant, Model, fault, ip_address
from services.config_api.resources.mailbox_servers import AnyMailboxServer

# The states of a delivery.
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
# The states in answers. `unknown` stands for a state of a newer relay, which this release does not know.
State = Literal[KnownState, "unknown"]
QueueActionName = Literal["retry", "hold", "release", "bounce", "delete"]
OptionalTime = Time | None
TlsPolicy = Literal["opportunistic", "required", "implicit", "mta-sts", "dane", "none"]
AttemptResult = Literal["delivered", "deferred", "failed"]
ReplyCode = Annotated[int | None, Field(ge=200, le=599)]
EnhancedCode = Annotated[str | None, Field(description="The code of RFC 3463.", examples=["5.7.1"])]
Stage = Literal["connect", "auth", "helo", "mail", "rcpt", "data", "end_of_data", "junk_command", "pipelining"]


class Attempt(Answer):
    """One attempt to deliver."""

    started_at: OptionalTime = Field(description="When it began.")
    ended_at: OptionalTime = Field(description="When it ended.")
    host: str | None = Field(description="The host that was connected to. null when there was none.")
    address: str | None = Field(description="The address of the host.")
    port: int | None = Field(ge=0, le=65535, description="The TCP port.")
    tls: str | None = Field(description="The version and the cipher of TLS. null without TLS.")
    tls_policy: TlsPolicy | None = Field(description="The TLS that was needed.")
    result: AttemptResult | None = Field(description="The result for the recipient.")
    code: ReplyCode = Field(description="The code of the reply. null when there was no reply.")
    enhanced_code: EnhancedCode
    text: str = Field(description="The text of the reply, or our reason.")
    possible_duplicate: bool = Field(
        description="Whether the connection was lost between the final dot and its answer."
    )
    worker: str = Field(description="The process of relay that made the attempt.")


class Delivery(Answer):
    """One recipient of a message."""

    id: str = Field(description="Its id.")
    recipient: str = Field(description="The address of the recipient.")
    original_recipient: str | None = Field(
        description="The recipient as submitted, if an alias or a redirect replaced it."
    )
    state: State = Field(description="The state of its delivery.")
    destination: str = Field(description="The destination: domain:NAME, relay:HOST:PORT or mailbox:NAME.")
    next_hop: str | None = Field(
        description="host:port of the server to which it was redirected. null means that the configuration decides."
    )
    attempts: int = Field(ge=0, le=1_000_000, description="Number of attempts so far.")
    due_at: OptionalTime = Field(description="When the next attempt is due.")
    expires_at: OptionalTime = Field(description="When the delivery expires. null means that it is finished.")
    finished_at: OptionalTime = Field(description="When it was finished. null means that it is not finished.")
    last_attempt: Attempt | None = Field(description="The newest attempt. null means that there was none.")
    history: list[Attempt] = Field(description="All attempts, oldest first.")
    possible_duplicate: bool = Field(description="Whether the recipient may have got the message twice.")


class ShadowResult(Answer):
    """A refusal that a rule in shadow mode would have made."""

    reason_id: str = Field(description="The name of the rule.", examples=["dnsbl_listed"])
    rule_id: str | None = Field(description="The id of the access rule. null when it is not an access rule.")


class SessionVerdict(Answer):
    """A verdict in the session of a message. Verdicts to which no rule contributed are not recorded."""

    stage: str = Field(description="The stage of the session.", examples=["rcpt"])
    action: str = Field(description="One of accept, reject, discard.", examples=["reject"])
    code: int | None = Field(description="The code of the reply. null when nothing was rejected.", examples=[554])
    enhanced_code: str | None = Field(
        description="The code of RFC 3463. null when nothing was rejected.", examples=["5.7.1"]
    )
    reason_id: str | None = Field(description="The name of the rule that decided. null when none did.")
    rule_id: str | None = Field(description="The id of the access rule or setting that decided. null when none did.")
    shadow: list[ShadowResult] = Field(description="Refusals that rules in shadow mode would have made.")


class TimelineEvent(Answer):
    """An event in the timeline of a message."""

    occurred_at: OptionalTime = Field(description="When it happened.")
    event: str = Field(
        description="What happened: stored, refused, expanded, discarded, delivered, deferred, bounced, expired, or "
        "an action of an operator.",
        examples=["stored"],
    )
    recipient: str | None = Field(description="The recipient of the event. null means all recipients.")
    detail: str | None = Field(description="Details of the event.")
    actor: str | None = Field(description="For actions of operators: the name of the API key.")
    verdict: SessionVerdict | None = Field(description="The verdict of policy. null for other events.")
    attempt: Attempt | None = Field(description="The attempt that caused the event. null when none did.")


class Origin(Answer):
    """The origin of the message."""

    session_id: str | None = Field(description="The id of the session. null for a report of ours.")
    client_address: str | None = Field(description="The IP address of the client.")
    helo_name: str | None = Field(description="The name from HELO or EHLO.")
    account_login: str | None = Field(description="The account that was logged in. null means none.")
    listener: Literal["smtp", "submission", "submissions"] | None = Field(
        description="The listener where the client connected."
    )
    tls: bool = Field(description="Whether TLS was on.")


class Message(Answer):
    """A message, queued or finished."""

    queue_id: str = Field(description="The id of the message in the queue.")
    submission_id: str | None = Field(description="The id of the message between ingress and relay.")
    sender: str | None = Field(description="The sender of the envelope. null means the null sender.")
    size: int = Field(description="Octets.")
    received_at: OptionalTime = Field(description="When it was received.")
    origin: Origin
    state: State = Field(description="The least finished state of its deliveries.")
    deliveries: list[Delivery] = Field(
        description="The deliveries, one for each recipient. Lists have only the first ones."
    )
    delivery_count: int = Field(ge=0, le=1_000_000, description="The number of all deliveries.")
    timeline: list[TimelineEvent] = Field(description="The timeline, oldest first. Only getQueuedMessage has it.")
    header: str | None = Field(description="The header, if the request asks for it.")
    envelope_id: str | None = Field(description="ENVID of RFC 3461.")
    message_id: str | None = Field(
        description="The Message-ID of the header without its angle brackets. null means that it has none, or that "
        "it was not stored."
    )
    subject: str | None = Field(description="The subject. null means that it was not stored (keep_subjects).")
    smtputf8: bool = Field(description="Whether the message needs SMTPUTF8.")
    quarantine: bool = Field(description="Whether the message is marked for quarantine.")
    code: ReplyCode = Field(description="For refused messages: the code of the reply.")
    enhanced_code: EnhancedCode
    text: str | None = Field(description="For refused messages: the text of the reply.")
    reason_id: str | None = Field(description="For refused messages: the constant name of the rule that refused.")
    rule_id: str | None = Field(description="The id of the access rule that refused.")
    stage: Stage | None = Field(description="The stage of the session at which the message was refused.")


class MessagePage(Answer):
    """A page of messages."""

    items: list[Message] = Field(description="The items of the page.")
    next_cursor: str | None = Field(description="The cursor of the next page. null means that this is the last page.")


class Destination(Answer):
    """A destination of queued mail."""

    name: str = Field(description="Its name.", examples=["domain:example.com"])
    queued: int = Field(description="The number of all deliveries.")
    active: int = Field(description="The number of deliveries that are due now or being tried.")
    deferred: int = Field(description="The number of deliveries that wait for their next attempt.")
    held: int = Field(description="The number of deliveries that are held.")
    oldest_at: OptionalTime = Field(description="When the oldest message was received.")
    last_error: str | None = Field(description="The newest failure, in one line.")
    last_error_at: OptionalTime = Field(description="When the newest failure happened.")
    suspended: bool = Field(description="Whether it is suspended.")
    suspended_until: OptionalTime = Field(
        description="When the suspension ends. null means that it ends when somebody resumes the destination."
    )
    suspended_by: str | None = Field(description="Who suspended it.")
    next_due_at: OptionalTime = Field(description="When the next attempt is due.")


class SuspendedDestination(Destination):
    """A destination that was just suspended."""

    warnings: list[ConfigurationWarning] = Field(description="Warnings about the name of the destination.")


class DestinationPage(Answer):
    """A page of destinations."""

    items: list[Destination] = Field(description="The items of the page.")
    next_cursor: str | None = Field(description="The cursor of the next page. null means that this is the last page.")


class ActionProgress(Answer):
    """The changes of an action. With dry_run, the changes that it would make."""

    matched: int = Field(description="The number of deliveries that match.")
    acted: int = Field(description="The number of deliveries that were changed.")
    skipped: int = Field(
        description="The number of deliveries that are being tried now, or are in a state that does "
        "not allow the action."
    )
    done: bool = Field(description="false means that more progress follows.")


def _client(text: str) -> str:
    """Returns the IP address of a client in the form in which it is stored: an IPv4 address that is mapped to IPv6
    becomes IPv4. Text that is not an IP address does not change.
    """
    try:
        return ip_address(text)
    except ValueError:
        return text


MessageId = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\u0000-\u001f\u007f]+$")]
FilteredAddress = Annotated[FilterText, AfterValidator(_client)]


class MessageFilter(BaseModel):
    """The conditions for messages. A message must meet all that are given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sender: AnyAddress | None = Field(default=None, description="Envelope sender.")
    recipient: AnyAddress | None = Field(default=None, description="A recipient.")
    sender_domain: Domain | None = Field(default=None, description="The domain of the sender.")
    recipient_domain: Domain | None = Field(default=None, description="The domain of a recipient.")
    state: KnownState | None = Field(default=None, description="The state of a delivery.")
    destination: FilterText | None = Field(default=None, description="The name of a destination.")
    received_after: Instant | None = Field(default=None, description="Received at this time or later.")
    received_before: Instant | None = Field(default=None, description="Received before this time.")
    last_reply_contains: FilterText | None = Field(
        default=None, description="Text in the last reply, without regard to case. There are no wildcards."
    )
    account_login: FilterText | None = Field(default=None, description="The login of the account that sent it.")
    client_address: FilteredAddress | None = Field(
        default=None, description="The IP address of the client that sent it."
    )
    attempts_at_least: int | None = Field(
        default=None, ge=1, le=1_000_000, description="At least this number of attempts."
    )
    session_id: FilterText | None = Field(default=None, description="The session from which the message came.")
    message_id: MessageId | None = Field(
        default=None,
        description="The Message-ID of the header, with or without its angle brackets. Case is significant.",
    )
    envelope_id: FilterText | None = Field(default=None, description="The ENVID of RFC 3461, as it was received.")
    queue_id: FilterText | None = Field(default=None, description="The id of the message in the queue.")
    address_contains: FilterText | None = Field(
        default=None,
        description="A part of the sender's or a recipient's address, without regard to case. There are no "
        "wildcards. Give received_after and received_before too, so that only this time is searched.",
    )
    subject_contains: FilterText | None = Field(
        default=None,
        description="A part of the subject, without regard to case. There are no wildcards. It finds messages that "
        "arrived while keep_subjects of the queue settings was on.",
    )
    rule_id: FilterText | None = Field(
        default=None, description="The id of an access rule or setting that decided at some stage of the session."
    )
    reason_id: FilterText | None = Field(
        default=None, description="The name of a rule that refused or discarded something in the session."
    )
    shadow_reason_id: FilterText | None = Field(
        default=None, description="The name of a rule in shadow mode that would have refused."
    )
    shadow_rule_id: FilterText | None = Field(
        default=None, description="Id of an access rule in shadow mode that would have refused."
    )


class MessageQuery(MessageFilter):
    """A page of the messages that match."""

    # Query parameters are always text, so they must be converted.
    model_config = ConfigDict(strict=False)

    attempts_at_least: Annotated[int, Field(ge=1, le=1_000_000), DIGITS] | None = Field(
        default=None, description="At least this number of attempts."
    )
    limit: Decimal = Field(default=100, ge=1, le=1000, description="The most messages of a page.")
    cursor: str | None = Field(default=None, max_length=4096, description="The next_cursor of the previous page.")


class MessageSelection(Model):
    """The messages to act on."""

    filter: MessageFilter = Field(description="At least one member must be given.")


class MessageRedirect(Model):
    """The new target of mail. Exactly one member must be given."""

    recipient: AnyAddress | None = Field(default=None, description="The recipient that replaces those of the message.")
    next_hop: AnyMailboxServer | None = Field(
        default=None,
        description="The server to which the mail is sent, whatever the configuration says, until another redirect. "
        "It is used without a login.",
    )
    configured_route: bool = Field(
        default=False, description="true means that the configuration decides again, in place of an earlier next hop."
    )

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if [self.recipient is not None, self.next_hop is not None, self.configured_route].count(True) != 1:
            raise fault("one_target", "exactly one of recipient, next_hop and configured_route must be given")
        return self

    @property
    def text(self) -> str:
        """Returns the description of the redirect for the audit log."""
        if self.recipient is not None:
            return f"to {self.recipient}"
        if self.next_hop is not None:
            return f"to the next hop {self.next_hop.host}:{self.next_hop.port}"
        return "to the configured route"


class MessageSelectionRedirect(MessageRedirect):
    """The messages to redirect, and their new target. Exactly one member must be given besides the filter."""

    filter: MessageFilter = Field(description="At least one member must be given.")


class Suspension(Model):
    """How long a destination is suspended."""

    until: Instant | None = Field(
        default=None,
        description="When the suspension ends. null means that it ends when somebody resumes the destination.",
    )
