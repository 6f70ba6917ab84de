"""The form of events in streams and webhooks."""

from __future__ import annotations

from pydantic import Field

from services.config_api.http.responses import Answer, Time


class MailEventAttempt(Answer):
    """The attempt that caused an event."""

    host: str | None = Field(description="The host that was connected to. null when there was none.")
    address: str | None = Field(description="Its address.")
    port: int | None = Field(description="TCP port.")
    tls: str | None = Field(description="Version and cipher of TLS. null without TLS.")
    code: int | None = Field(description="The code of the reply. null when there was no reply.")
    enhanced_code: str | None = Field(description="The code of RFC 3463.")
    text: str | None = Field(description="The text of the reply, or our reason.")
    possible_duplicate: bool = Field(
        description="Whether the connection was lost between the final dot and its answer."
    )


class MailEventReply(Answer):
    """The reply that a refused client got."""

    code: int = Field(description="SMTP code.", examples=[550])
    enhanced_code: str | None = Field(description="The code of RFC 3463.", examples=["5.7.1"])
    text: str = Field(description="The text.")


class MailEventData(Answer):
    """The data of an event."""

    event_id: str = Field(
        description="The id of the event. It is the same each time that the event is sent.", examples=["81-1-1734"]
    )
    queue_id: str = Field(description="The queue id of the message.")
    sender: str = Field(description="The sender of the envelope. Empty for a report.")
    recipients: list[str] = Field(description="The recipient. For a refusal, all recipients that were refused.")
    envelope_id: str | None = Field(description="The ENVID of the sender.")
    session_id: str | None = Field(description="The session from which the message came.")
    client_address: str | None = Field(description="Its client.")
    account_login: str | None = Field(description="The login of the session's account.")
    attempt: MailEventAttempt | None = Field(description="The attempt. null when no attempt caused the event.")
    reply: MailEventReply | None = Field(description="For refusals: the reply to the client.")
    reason_id: str | None = Field(description="For refusals: the rule that refused.")
    rule_id: str | None = Field(description="For refusals: the id of the access rule.")
    stage: str | None = Field(description="For refusals: the stage of the session.", examples=["rcpt"])
    detail: str | None = Field(description="Further details, in our words.")
    actor: str | None = Field(description="For actions of operators: the name of the API key.")


class MailEvent(Answer):
    """An event about a message."""

    type: str = Field(
        description="delivered, deferred, bounced, expired, held, refused or client_blocked; a later release may "
        "have more.",
        examples=["delivered"],
    )
    timestamp: Time = Field(description="When it happened.")
    data: MailEventData = Field(description="The data of the event.")
