"""The singleton `/v1/settings/queue`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from services.config_api.resources.description import Singleton
from services.config_api.resources.fields import Model, fault


class RetrySchedule(Model):
    """Waiting times between attempts, jitter aside."""

    first_minutes: float = Field(
        default=5, ge=0.01, le=1440, allow_inf_nan=False, description="Before the second attempt, in minutes."
    )
    growth: float = Field(
        default=1.5, ge=1, le=10, allow_inf_nan=False, description="Each wait is so many times the one before."
    )
    max_minutes: float = Field(
        default=120, ge=0.01, le=10_080, allow_inf_nan=False, description="The longest wait, in minutes."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_minutes < self.first_minutes:
            raise fault("retry_order", "must not be less than first_minutes", "max_minutes")
        return self


class QueueSettings(Model):
    """When delivery is tried again, when it is given up, how much at once."""

    retry_schedule: RetrySchedule = Field(default=RetrySchedule(), description="Waiting times between attempts.")
    expire_after_hours: float = Field(
        default=120, gt=0, le=8760, allow_inf_nan=False, description="After so many hours a message is returned."
    )
    delay_notice_after_hours: float = Field(
        default=4, ge=0, le=8760, allow_inf_nan=False, description="The sender is told of a delay; 0: never."
    )
    bounce_expire_hours: float = Field(
        default=24, gt=0, le=8760, allow_inf_nan=False, description="After so many hours a report is given up."
    )
    max_concurrency_per_destination: int = Field(
        default=20, ge=1, le=1000, description="Connections at once to one destination."
    )
    max_messages_per_connection: int = Field(
        default=100, ge=1, le=100_000, description="Messages over one connection before it is closed."
    )
    retention_days: float = Field(
        default=7, ge=0, le=3650, allow_inf_nan=False, description="Finished messages stay searchable for so many days."
    )


QUEUE = Singleton(kind="settings/queue", noun="QueueSettings", label="queue settings", tag="queue", model=QueueSettings)
