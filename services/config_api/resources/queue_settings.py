"""The singleton `/v1/settings/queue`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from services.config_api.problems import invalid_field
from services.config_api.resources.description import Body, CheckContext, Finding, Singleton
from services.config_api.resources.fields import Model, fault


class RetrySchedule(Model):
    """The times between attempts, before they are spread at random."""

    first_minutes: float = Field(
        default=5, ge=0.01, le=1440, allow_inf_nan=False, description="The time before the second attempt, in minutes."
    )
    growth: float = Field(
        default=1.5,
        ge=1,
        le=10,
        allow_inf_nan=False,
        description="Each time between attempts is the previous one multiplied by this.",
    )
    max_minutes: float = Field(
        default=120,
        ge=0.01,
        le=10_080,
        allow_inf_nan=False,
        description="The longest time between attempts, in minutes.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_minutes < self.first_minutes:
            raise fault("retry_order", "must not be less than first_minutes", "max_minutes")
        return self


_MINUTES = 60
_SHORTEST_RETENTION_DAYS = 1 / 24
_SHORTEST_HOURS = 1 / 3600


class QueueSettings(Model):
    """When delivery is tried again, when a message expires, and how much is sent at the same time."""

    retry_schedule: RetrySchedule = Field(default=RetrySchedule(), description="The times between attempts.")
    expire_after_hours: float = Field(
        default=120,
        ge=_SHORTEST_HOURS,
        le=8760,
        allow_inf_nan=False,
        description="After this number of hours a message is returned, but not before its first retry.",
    )
    delay_notice_after_hours: float = Field(
        default=4,
        ge=0,
        le=8760,
        allow_inf_nan=False,
        description="After this number of hours the sender gets a notice of delay, but not before the first retry. 0 "
        "means never.",
    )
    bounce_expire_hours: float = Field(
        default=24,
        ge=_SHORTEST_HOURS,
        le=8760,
        allow_inf_nan=False,
        description="After this number of hours a report expires, but not before its first retry.",
    )
    max_concurrency_per_destination: int = Field(
        default=20, ge=1, le=1000, description="The most connections to one destination at the same time."
    )
    max_messages_per_connection: int = Field(
        default=100, ge=1, le=100_000, description="The number of messages after which a connection is closed."
    )
    max_messages_per_minute_per_destination: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="The most messages to one destination in one minute of the clock. 0 means no limit.",
    )
    retention_days: float = Field(
        default=7,
        ge=0,
        le=3650,
        allow_inf_nan=False,
        description="The number of days for which finished messages can be found.",
    )
    keep_subjects: bool = Field(
        default=False,
        description="Whether the subject of each new message is stored, so that messages can be searched by it. "
        "Everybody who may list messages can then read subjects.",
    )


async def refuse(body: Body, _: CheckContext) -> Sequence[Finding]:
    """Raises Problem 422 for settings with which mail would expire before its first retry, or with which the history of
    a message would be removed too early (F34).
    """
    first_hours = body["retry_schedule"]["first_minutes"] / _MINUTES
    for name in ("expire_after_hours", "bounce_expire_hours", "delay_notice_after_hours"):
        # 0 hours is allowed for delay notices, because it means that no notice is sent.
        if body[name] < first_hours and (body[name] or name != "delay_notice_after_hours"):
            raise invalid_field(
                f"/{name}", "before_first_retry", "This must not be shorter than retry_schedule.first_minutes."
            )
    if 0 < body["retention_days"] < _SHORTEST_RETENTION_DAYS:
        raise invalid_field("/retention_days", "too_short", "This must be 0, or an hour or more.")
    return ()


async def check(body: Body, _: CheckContext) -> Sequence[Finding]:
    if body["delay_notice_after_hours"] >= body["expire_after_hours"]:
        return (
            Finding(
                "/delay_notice_after_hours",
                "never",
                "Mail expires before this time, so no sender is ever told of a delay.",
            ),
        )
    return ()


QUEUE = Singleton(
    kind="settings/queue",
    noun="QueueSettings",
    label="queue settings",
    tag="queue",
    model=QueueSettings,
    refuse=refuse,
    check=check,
)
