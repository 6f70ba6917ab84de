"""The requests to explain a session or a route, and their answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from libs.smtp.address import parse_address
from services.config_api.http.responses import Answer
from services.config_api.resources.access_rules import AccessRule
from services.config_api.resources.fields import AnyAddress, Instant, Model, checked, fault, ip_address


def _address(text: str) -> str:
    try:
        return ip_address(text)
    except ValueError as error:
        raise fault("ip_address", str(error)) from None


_FIRST_YEAR, _LAST_YEAR = 1970, 9998

IpAddress = Annotated[
    str,
    Field(max_length=60, pattern=r"^[0-9A-Fa-f:.]+$", examples=["192.0.2.7"]),
    AfterValidator(_address),
]


def _recipient(text: str) -> str:
    """Returns a recipient as RCPT accepts it, where `postmaster` needs no domain (RFC 5321 4.5.1)."""
    return text if text.lower() == "postmaster" else str(parse_address(text))


Recipient = Annotated[
    str,
    Field(
        min_length=3,
        max_length=512,
        examples=["user@example.com", "postmaster"],
        description="A full e-mail address, or postmaster.",
    ),
    AfterValidator(checked("address", _recipient)),
]
Check = Literal["none", "neutral", "pass", "fail", "softfail", "policy", "temperror", "permerror"]
StageName = Literal["connect", "helo", "mail", "rcpt", "data", "end_of_data", "junk_command", "pipelining"]


class DkimFacts(Model):
    """The verification of a signature."""

    result: Check = Field(description="The result in the words of RFC 8601.")
    domain: Annotated[str, Field(min_length=1, max_length=255)] = Field(description="d=")


class SpamFacts(Model):
    """The answer of rspamd."""

    action: Literal["no_action", "greylist", "add_header", "rewrite_subject", "soft_reject", "reject", "error"] = Field(
        description="The action that rspamd wants. error means that it gave no answer."
    )
    score: float = Field(default=0.0, ge=-1e6, le=1e6, description="Its score.")


class ContentFacts(Model):
    """The facts about the content."""

    size: int = Field(default=1000, ge=0, le=1 << 50, description="Octets.")
    hops: int = Field(default=0, ge=0, le=10_000, description="Received fields.")
    from_addresses: list[AnyAddress] = Field(default=[], max_length=100, description="The mailboxes of the From field.")
    dkim: list[DkimFacts] | None = Field(
        default=None, max_length=10, description="null means that it was not verified."
    )
    virus: Literal["clean", "infected", "error"] | None = Field(
        default=None, description="null means that it was not scanned."
    )
    spam: SpamFacts | None = Field(default=None, description="null means that rspamd was not asked.")


class SessionFacts(Model):
    """The facts of a session."""

    stage: StageName = Field(default="rcpt", description="The stage that the session has reached.")
    client_address: IpAddress = Field(description="The client.")
    listener: Literal["smtp", "submission", "submissions"] = Field(
        default="smtp", description="The listener where the client connected: port 25, 587 or 465."
    )
    helo_name: Annotated[str, Field(max_length=255, pattern=r"^[^\u0000-\u001f\u007f]*$")] = Field(
        default="client.example.net", description="The name from HELO or EHLO."
    )
    tls: bool = Field(default=False, description="Whether TLS is on.")
    account_login: Annotated[str, Field(max_length=255, pattern=r"^[^\u0000-\u001f\u007f]*$")] = Field(
        default="", description="The account that is logged in. Empty means none."
    )
    sender: AnyAddress | None = Field(
        default=None, description="The sender of the envelope. null means the null sender."
    )
    recipient: Recipient | None = Field(default=None, description="The recipient to decide about.")
    recipients: list[Recipient] = Field(
        default=[], max_length=1000, description="The recipients that were accepted before."
    )
    declared_size: int = Field(default=0, ge=0, le=1 << 50, description="SIZE of MAIL in octets. 0 means none.")
    junk_commands: int = Field(
        default=0, ge=0, le=1_000_000, description="The number of commands outside the mail transaction so far."
    )
    content: ContentFacts | None = Field(default=None, description="For the stage end_of_data only.")

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.stage == "rcpt" and self.recipient is None:
            raise fault("recipient_missing", "the stage rcpt needs it", "recipient")
        return self


class ProposedAccessRule(AccessRule):
    """An access rule that does not exist."""

    value: str = Field(
        min_length=1, max_length=512, description="The value, as in an access rule.", examples=["user@example.com"]
    )


class PastSession(Model):
    """A past session that policy still remembers."""

    kind: Literal["past"] = Field(description="The session is a past one.")
    session_id: str = Field(
        pattern=r"^[0-9a-f]{32}$", description="The id of the session, as in the log and the history."
    )


def _within_calendar(now: datetime) -> datetime:
    """Refuses times before 1970, and times so near to the last possible year that they could not be moved by a day in
    every time zone.
    """
    if not _FIRST_YEAR <= now.year <= _LAST_YEAR:
        raise fault("instant", f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return now


class HypotheticalSession(Model):
    """A session that is described by facts. It need not exist."""

    kind: Literal["hypothetical"] = Field(description="The session is described by facts.")
    facts: SessionFacts = Field(description="The facts of the session.")
    assumed: dict[
        Annotated[str, Field(max_length=300, pattern=r"^[A-Za-z0-9_./-]+$")], Literal["found", "none", "no_answer"]
    ] = Field(
        default={},
        description="Look-ups whose results are given here, by the name that the report uses. They are not made.",
        examples=[{"client_name": "none", "sender_domain": "found"}],
    )
    proposed_rule: ProposedAccessRule | None = Field(
        default=None,
        description="An access rule that is tried as if it existed, as the newest of all. It is not stored. In the "
        "answer its id is `proposed`.",
    )
    now: Annotated[Instant, AfterValidator(_within_calendar)] | None = Field(
        default=None, description="The time to assume, in the years 1970 to 9998. null means now."
    )


SessionToExplain = Annotated[HypotheticalSession | PastSession, Field(discriminator="kind")]


class Reply(Answer):
    """The reply that the client would get."""

    code: int = Field(ge=200, le=599, description="The code of the reply.", examples=[554])
    enhanced_code: str | None = Field(description="The code of RFC 3463.", examples=["5.7.1"])
    text: str = Field(description="The text of the reply.")


class RuleReport(Answer):
    """One rule and its result."""

    stage: Literal[
        "connect", "auth", "helo", "mail", "rcpt", "data", "end_of_data", "junk_command", "pipelining", "unknown"
    ] = Field(description="The stage of the session that the rule belongs to.")
    reason_id: str = Field(description="The constant name of the rule.", examples=["relay_denied"])
    rule_id: str | None = Field(description="The id of the access rule. null when it is not an access rule.")
    outcome: Literal["pass", "decided", "shadow", "off", "skipped", "not_reached", "unknown"] = Field(
        description="Its result."
    )
    skipped_by: str | None = Field(description="The id of the allow rule, or the name of the exemption.")
    reply: Reply | None = Field(description="The reply to the client. null when there is none.")
    explanation: str = Field(description="The result in a sentence.")


class LookupReport(Answer):
    """One question to the DNS."""

    name: str = Field(description="Its name.")
    outcome: Literal["found", "none", "no_answer", "unknown"] = Field(description="Its result.")
    detail: str | None = Field(description="The records that were found.")
    took_us: int = Field(description="Microseconds.")


class SessionExplanation(Answer):
    """Every rule in order, every look-up, and the final reply."""

    rules: list[RuleReport] = Field(description="Every rule, in order.")
    lookups: list[LookupReport] = Field(description="Every question to the DNS.")
    action: Literal["accept", "reject", "discard", "unknown"] = Field(description="The final result.")
    reply: Reply | None = Field(description="null: accepted.")
    reason_id: str | None = Field(description="The constant name of the rule that decided. null when none did.")
    rule_id: str | None = Field(description="The id of the access rule that decided.")
    delay_seconds: float = Field(description="The delay of the answer, in seconds.")
    snapshot_revision: int = Field(description="The revision of the configuration that was used.")


class RouteQuery(Model):
    """A sender and a recipient, whose route is explained."""

    sender: AnyAddress | None = Field(
        default=None, description="The sender of the envelope. null means the null sender."
    )
    recipient: Recipient = Field(description="Envelope recipient.")


class RouteRule(Answer):
    """A rule that was considered."""

    kind: Literal["alias", "recipient_rule", "local_domain", "relay_domain", "sender_rule", "mode"] = Field(
        description="The kind of the rule."
    )
    rule_id: str | None = Field(description="The id of the rule. null when it has none.")
    name: str | None = Field(description="Its name.")
    won: bool = Field(description="Whether it decides.")
    reason: str = Field(description="Why.")


class RouteLookup(Answer):
    """One question to the DNS."""

    query: str = Field(description="Name and type.")
    outcome: str = Field(description="Its result.")
    answers: list[str] = Field(description="The records.")
    name_server: str | None = Field(description="The name server that was asked. null means one of the system.")
    took_us: int = Field(description="Microseconds.")


class RouteHost(Answer):
    """A host that would be tried, or the reason why not."""

    preference: int = Field(ge=0, le=65535, description="MX preference.")
    host: str = Field(description="Its name.")
    port: int | None = Field(ge=1, le=65535, description="The TCP port.")
    addresses: list[str] = Field(description="Its addresses.")
    left_out: str | None = Field(description="Why it would not be tried. null means that it would.")


class Route(Answer):
    """The route of one recipient's mail."""

    recipient: str = Field(description="The address of a recipient.")
    kind: Literal["direct", "relay_host", "mailbox", "held", "failed"] = Field(description="The kind of the route.")
    destination: str | None = Field(description="The destination: domain:NAME, relay:HOST:PORT or mailbox:NAME.")
    rules: list[RouteRule] = Field(description="Every rule, in order.")
    hosts: list[RouteHost] = Field(description="The hosts in the order in which they would be tried.")
    lookups: list[RouteLookup] = Field(description="Every question to the DNS.")
    tls_policy: Literal["opportunistic", "required", "implicit", "mta-sts", "dane", "none"] | None = Field(
        description="The TLS that the connection needs."
    )
    verify_certificate: bool = Field(description="Whether the certificate must be valid.")
    auth_username: str | None = Field(description="The login that is used. null means none.")
    code: int | None = Field(
        ge=200, le=599, description="The code with which the recipient fails. null means that it does not fail."
    )
    enhanced_code: str | None = Field(description="The code of RFC 3463.")
    reason: str | None = Field(description="The reason for this route.")


class RouteExplanation(Answer):
    """One route for each recipient after the expansion of aliases."""

    routes: list[Route] = Field(description="The routes of the recipients after the expansion of aliases.")
    snapshot_revision: int = Field(description="The revision of the configuration that was used.")
