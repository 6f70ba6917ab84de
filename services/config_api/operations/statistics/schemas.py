"""How statistics are asked for and shown."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.config_api.http.responses import Answer, Time
from services.config_api.resources.fields import Instant

Number = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


class BucketWidth(StrEnum):
    """How long each bucket is."""

    FIVE_MINUTES = "five_minutes"
    HOUR = "hour"
    DAY = "day"


class StatisticsQuery(BaseModel):
    """Which time, in which steps."""

    model_config = ConfigDict(extra="forbid")

    after: Instant | None = Field(
        default=None, description="The bucket that holds this time is the first; null: 24 hours before `before`."
    )
    before: Instant | None = Field(default=None, description="Buckets begin before this time; null: now.")
    bucket: BucketWidth = Field(default=BucketWidth.HOUR, description="How long each bucket is; days are those of UTC.")


class RefusedCount(Answer):
    """What one rule refused."""

    reason_id: str = Field(description="Name of the rule.", examples=["relay_denied"])
    count: Number = Field(description="Sessions, messages or recipients.", examples=[12])


class ShadowCount(Answer):
    """What one rule in shadow mode would have refused."""

    reason_id: str = Field(description="Name of the rule.", examples=["dnsbl_listed"])
    rule_id: str | None = Field(description="The access rule's id; null: it is none.")
    count: Number = Field(description="Messages, and sessions that were refused for another reason.", examples=[3])


class StatisticsBucket(Answer):
    """What happened in one period."""

    starts_at: Time = Field(description="When the period begins.")
    accepted: Number = Field(description="Messages that were accepted.")
    delivered: Number = Field(description="Recipients to whom mail was delivered.")
    deferred: Number = Field(description="Attempts after which a recipient is tried again.")
    bounced: Number = Field(description="Recipients that failed for good, or whose time was over.")
    refused: list[RefusedCount] = Field(description="What was refused, by reason.")
    shadow: list[ShadowCount] = Field(description="What rules in shadow mode would have refused.")


class Statistics(Answer):
    """Numbers of messages and recipients by time."""

    buckets: list[StatisticsBucket] = Field(
        description="In order of time. Periods in which nothing happened are left out."
    )
