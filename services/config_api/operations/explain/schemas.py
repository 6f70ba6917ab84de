"""The facts of a session to explain, the mail to route, and the answers to both."""

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
    """As RCPT takes it: `postmaster` needs no domain (RFC 5321 4.5.1)."""
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
    """A signature's verification."""

    result: Check = Field(description="RFC 8601's word for it.")
    domain: Annotated[str, Field(min_length=1, max_length=255)] = Field(description="d=")


class SpamFacts(Model):
    """What rspamd said."""

    action: Literal["no_action", "greylist", "add_header", "rewrite_subject", "soft_reject", "reject", "error"] = Field(
        description="What it wants done; error: it gave no answer."
    )
    score: float = Field(default=0.0, ge=-1e6, le=1e6, description="Its score.")


class ContentFacts(Model):
    """What the content showed."""

    size: int = Field(default=1000, ge=0, le=1 << 50, description="Octets.")
    hops: int = Field(default=0, ge=0, le=10_000, description="Received fields.")
    from_addresses: list[AnyAddress] = Field(default=[], max_length=100, description="Mailboxes of the From field.")
    dkim: list[DkimFacts] | None = Field(default=None, max_length=10, description="null: not verified.")
    virus: Literal["clean", "infected", "error"] | None = Field(default=None, description="null: not scanned.")
    spam: SpamFacts | None = Field(default=None, description="null: rspamd was not asked.")


class SessionFacts(Model):
    """What is known of a session."""

    stage: StageName = Field(default="rcpt", description="How far the session has come.")
    client_address: IpAddress = Field(description="The client.")
    listener: Literal["smtp", "submission", "submissions"] = Field(
        default="smtp", description="Where it came in: port 25, 587 or 465 in kind."
    )
    helo_name: Annotated[str, Field(max_length=255, pattern=r"^[^\u0000-\u001f\u007f]*$")] = Field(
        default="client.example.net", description="The name given with HELO or EHLO."
    )
    tls: bool = Field(default=False, description="Whether TLS is on.")
    account_login: Annotated[str, Field(max_length=255, pattern=r"^[^\u0000-\u001f\u007f]*$")] = Field(
        default="", description="The account it has logged in as; empty: none."
    )
    sender: AnyAddress | None = Field(default=None, description="Envelope sender; null: the null sender.")
    recipient: Recipient | None = Field(default=None, description="The recipient asked about.")
    recipients: list[Recipient] = Field(default=[], max_length=1000, description="Those taken before.")
    declared_size: int = Field(default=0, ge=0, le=1 << 50, description="SIZE of MAIL in octets; 0: none.")
    junk_commands: int = Field(default=0, ge=0, le=1_000_000, description="Junk commands so far.")
    content: ContentFacts | None = Field(default=None, description="For stage end_of_data.")

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.stage == "rcpt" and self.recipient is None:
            raise fault("recipient_missing", "stage rcpt needs it", "recipient")
        return self


class ProposedAccessRule(AccessRule):
    """An access rule that is not there."""

    value: str = Field(min_length=1, max_length=512, description="As in an access rule.", examples=["user@example.com"])


class PastSession(Model):
    """A past session that policy still remembers."""

    kind: Literal["past"] = Field(description="It is a past session.")
    session_id: str = Field(pattern=r"^[0-9a-f]{32}$", description="Its id, as in the log and the history.")


def _civil(now: datetime) -> datetime:
    """A minute and a day later, in whatever time zone, there is still a calendar."""
    if not _FIRST_YEAR <= now.year <= _LAST_YEAR:
        raise fault("instant", f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return now


class HypotheticalSession(Model):
    """A session that is described by its facts; it need not exist."""

    kind: Literal["hypothetical"] = Field(description="It is described by its facts.")
    facts: SessionFacts = Field(description="What is known of it.")
    assumed: dict[
        Annotated[str, Field(max_length=300, pattern=r"^[A-Za-z0-9_./-]+$")], Literal["found", "none", "no_answer"]
    ] = Field(
        default={},
        description="Look-ups whose outcome is given instead of asked for, by the name that the report uses.",
        examples=[{"client_name": "none", "sender_domain": "found"}],
    )
    proposed_rule: ProposedAccessRule | None = Field(
        default=None,
        description="An access rule that is tried as if it were there, the newest of all. It is not stored. In the "
        "answer its id is `proposed`.",
    )
    now: Annotated[Instant, AfterValidator(_civil)] | None = Field(
        default=None, description="The time to assume, in the years 1970 to 9998; null: now."
    )


SessionToExplain = Annotated[HypotheticalSession | PastSession, Field(discriminator="kind")]


class Reply(Answer):
    """What the client would be told."""

    code: int = Field(ge=200, le=599, description="The code of the reply.", examples=[554])
    enhanced_code: str | None = Field(description="The code of RFC 3463.", examples=["5.7.1"])
    text: str = Field(description="The reply's text.")


class RuleReport(Answer):
    """One rule, and what became of it."""

    stage: Literal[
        "connect", "auth", "helo", "mail", "rcpt", "data", "end_of_data", "junk_command", "pipelining", "unknown"
    ] = Field(description="The stage of the session that the rule belongs to.")
    reason_id: str = Field(description="The constant name of the rule.", examples=["relay_denied"])
    rule_id: str | None = Field(description="The id of the access rule; null: it is none.")
    outcome: Literal["pass", "decided", "shadow", "off", "skipped", "not_reached", "unknown"] = Field(
        description="What became of it."
    )
    skipped_by: str | None = Field(description="The id of the allow rule, or the name of the exemption.")
    reply: Reply | None = Field(description="What the client is told; null: nothing.")
    explanation: str = Field(description="In a sentence.")


class LookupReport(Answer):
    """One question to the DNS."""

    name: str = Field(description="Its name.")
    outcome: Literal["found", "none", "no_answer", "unknown"] = Field(description="What became of it.")
    detail: str | None = Field(description="What was found.")
    took_us: int = Field(description="Microseconds.")


class SessionExplanation(Answer):
    """Every rule in order, every look-up, and the reply in the end."""

    rules: list[RuleReport] = Field(description="Every rule, in order.")
    lookups: list[LookupReport] = Field(description="Every question to the DNS.")
    action: Literal["accept", "reject", "discard", "unknown"] = Field(description="What happens in the end.")
    reply: Reply | None = Field(description="null: accepted.")
    reason_id: str | None = Field(description="The constant name of the rule that decided; null: none did.")
    rule_id: str | None = Field(description="The id of the access rule that decided.")
    delay_seconds: float = Field(description="How long the answer waits, in seconds.")
    snapshot_revision: int = Field(description="The configuration's revision that was used.")


class RouteQuery(Model):
    """A sender and a recipient, whose route is explained."""

    sender: AnyAddress | None = Field(default=None, description="Envelope sender; null: the null sender.")
    recipient: Recipient = Field(description="Envelope recipient.")


class RouteRule(Answer):
    """A rule that was looked at."""

    kind: Literal["alias", "recipient_rule", "local_domain", "relay_domain", "sender_rule", "mode"] = Field(
        description="What it is."
    )
    rule_id: str | None = Field(description="Its id; null: it has none.")
    name: str | None = Field(description="Its name.")
    won: bool = Field(description="Whether it decides.")
    reason: str = Field(description="Why.")


class RouteLookup(Answer):
    """One question to the DNS."""

    query: str = Field(description="Name and type.")
    outcome: str = Field(description="What became of it.")
    answers: list[str] = Field(description="The records.")
    name_server: str | None = Field(description="The name server that was asked; null: one of the system.")
    took_us: int = Field(description="Microseconds.")


class RouteHost(Answer):
    """A host that would be tried, or why not."""

    preference: int = Field(ge=0, le=65535, description="MX preference.")
    host: str = Field(description="Its name.")
    port: int | None = Field(ge=1, le=65535, description="The TCP port.")
    addresses: list[str] = Field(description="Its addresses.")
    left_out: str | None = Field(description="Why it would not be tried; null: it would.")


class Route(Answer):
    """Where one recipient's mail goes."""

    recipient: str = Field(description="A recipient's address.")
    kind: Literal["direct", "relay_host", "mailbox", "held", "failed"] = Field(description="How the mail leaves.")
    destination: str | None = Field(description="Where it goes: domain:NAME, relay:HOST:PORT or mailbox:NAME.")
    rules: list[RouteRule] = Field(description="Every rule, in order.")
    hosts: list[RouteHost] = Field(description="Hosts in the order they would be tried.")
    lookups: list[RouteLookup] = Field(description="Every question to the DNS.")
    tls_policy: Literal["opportunistic", "required", "implicit", "mta-sts", "dane", "none"] | None = Field(
        description="What TLS has to be."
    )
    verify_certificate: bool = Field(description="Whether the certificate must be valid.")
    auth_username: str | None = Field(description="The login that is used; null: none.")
    code: int | None = Field(ge=200, le=599, description="The code that the recipient fails with; null: it does not.")
    enhanced_code: str | None = Field(description="The code of RFC 3463.")
    reason: str | None = Field(description="Why the route is this one.")


class RouteExplanation(Answer):
    """One route for each recipient after aliases."""

    routes: list[Route] = Field(description="One a recipient after aliases.")
    snapshot_revision: int = Field(description="The configuration's revision that was used.")
