"""An event as streams and webhooks tell it."""

from __future__ import annotations

from pydantic import Field

from services.config_api.http.responses import Answer, Time


class MailEventAttempt(Answer):
    """The attempt that brought an event about."""

    host: str | None = Field(description="Host connected to; null: none was.")
    address: str | None = Field(description="Its address.")
    port: int | None = Field(description="TCP port.")
    tls: str | None = Field(description="Version and cipher; null: no TLS.")
    code: int | None = Field(description="The reply's code; null: there was no reply.")
    enhanced_code: str | None = Field(description="RFC 3463 code.")
    text: str | None = Field(description="The reply's text, or our reason.")
    possible_duplicate: bool = Field(description="The connection was lost between the final dot and its answer.")


class MailEventReply(Answer):
    """What a client was answered that was refused."""

    code: int = Field(description="SMTP code.", examples=[550])
    enhanced_code: str | None = Field(description="RFC 3463 code.", examples=["5.7.1"])
    text: str = Field(description="The text.")


class MailEventData(Answer):
    """What an event is about."""

    event_id: str = Field(description="The event's own id, the same each time it is sent.", examples=["81-1-1734"])
    queue_id: str = Field(description="The message's queue id.")
    sender: str = Field(description="The envelope's sender; empty: a report.")
    recipients: list[str] = Field(description="The recipient; of a refusal, all that were refused.")
    envelope_id: str | None = Field(description="ENVID as the sender gave it.")
    session_id: str | None = Field(description="The session that the message came in by.")
    client_address: str | None = Field(description="Its client.")
    account_login: str | None = Field(description="The login of its account.")
    attempt: MailEventAttempt | None = Field(description="The attempt; null: none brought it about.")
    reply: MailEventReply | None = Field(description="Refusals: what the client was answered.")
    reason_id: str | None = Field(description="Refusals: the rule that refused.")
    rule_id: str | None = Field(description="Refusals: the access rule's id.")
    stage: str | None = Field(description="Refusals: where the session was.", examples=["rcpt"])
    detail: str | None = Field(description="What else is known, in our words.")
    actor: str | None = Field(description="Who, for what an operator did.")


class MailEvent(Answer):
    """Something that became of a message."""

    type: str = Field(
        description="delivered, deferred, bounced, expired, held, refused or client_blocked; a newer release may have "
        "more.",
        examples=["delivered"],
    )
    timestamp: Time = Field(description="When it happened.")
    data: MailEventData = Field(description="What it is about.")
