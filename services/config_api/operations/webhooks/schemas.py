"""The schemas of deliveries of webhooks, and of the rotation of their secrets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.config_api.http.responses import Answer, Time
from services.config_api.resources.fields import Model

_MONTH_MINUTES = 30 * 24 * 60


class WebhookDelivery(Answer):
    """An event that was sent to a webhook, with its last attempt."""

    event_id: str = Field(description="The id of the event, which is also in webhook-id.", examples=["81-1-1734"])
    type: str = Field(description="The type of the event, or test.", examples=["delivered"])
    queue_id: str | None = Field(description="The queue id of the message. null for a test.")
    state: Literal["delivered", "failing"] = Field(description="delivered means that the answer was 2xx.")
    attempts: int = Field(description="The number of attempts so far.")
    last_attempt_at: Time = Field(description="When the last attempt began.")
    http_status: int | None = Field(description="The status of the answer. null when there was none.")
    error: str | None = Field(description="The reason of the failure.")
    milliseconds: int = Field(description="The duration of the last attempt.", json_schema_extra={"format": "int64"})


class WebhookDeliveryPage(Answer):
    """A page of deliveries."""

    items: list[WebhookDelivery] = Field(
        description="The deliveries, newest attempt first. The last 200 events are stored."
    )
    next_cursor: str | None = Field(description="The cursor of the next page. null means that this is the last page.")
    failing_since: Time | None = Field(
        description="The time since which the oldest event has failed. After 3 days the webhook is disabled. null "
        "means that all events were accepted."
    )


class SecretRotation(Model):
    """Options for the replacement of a secret."""

    overlap_minutes: int = Field(
        default=1440,
        ge=0,
        le=_MONTH_MINUTES,
        description="The time for which the previous secret also signs, so that receivers can change it. 0 means "
        "that it stops at once.",
    )
