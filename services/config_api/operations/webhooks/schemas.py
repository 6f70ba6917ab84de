"""Attempts to deliver events to webhooks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.config_api.http.responses import Answer, Time
from services.config_api.resources.fields import Model

_MONTH_MINUTES = 30 * 24 * 60


class WebhookDelivery(Answer):
    """An event that was sent to a webhook, with its last attempt."""

    event_id: str = Field(description="The event's id, which webhook-id says too.", examples=["81-1-1734"])
    type: str = Field(description="The event's type, or test.", examples=["delivered"])
    queue_id: str | None = Field(description="The message's queue id; null: a test.")
    state: Literal["delivered", "failing"] = Field(description="delivered: the answer was 2xx.")
    attempts: int = Field(description="Attempts so far.")
    last_attempt_at: Time = Field(description="When the last one began.")
    http_status: int | None = Field(description="What it was answered; null: nothing.")
    error: str | None = Field(description="Why it failed.")
    milliseconds: int = Field(description="How long it took.", json_schema_extra={"format": "int64"})


class WebhookDeliveryPage(Answer):
    """A page of deliveries."""

    items: list[WebhookDelivery] = Field(description="Newest attempt first; the last 200 events are kept.")
    next_cursor: str | None = Field(description="cursor of the next page; null: this is the last.")
    failing_since: Time | None = Field(
        description="Since when the oldest event that was not taken fails; after 3 days the webhook is disabled. null: "
        "all were taken."
    )


class SecretRotation(Model):
    """How a secret is replaced."""

    overlap_minutes: int = Field(
        default=1440,
        ge=0,
        le=_MONTH_MINUTES,
        description="So long the secret of before signs too, so that receivers can be told; 0: not at all.",
    )
