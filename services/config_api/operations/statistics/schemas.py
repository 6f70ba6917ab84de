"""The request for statistics, and its answer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.config_api.http.responses import Answer, Time
from services.config_api.resources.fields import Instant

Number = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


class BucketWidth(StrEnum):
    """The length of each bucket."""

    FIVE_MINUTES = "five_minutes"
    HOUR = "hour"
    DAY = "day"


class StatisticsQuery(BaseModel):
    """The time range, and the length of its buckets."""

    model_config = ConfigDict(extra="forbid")

    after: Instant | None = Field(
        default=None, description="The first bucket contains this time. null means 24 hours before `before`."
    )
    before: Instant | None = Field(default=None, description="All buckets begin before this time. null means now.")
    bucket: BucketWidth = Field(default=BucketWidth.HOUR, description="The length of each bucket. Days are in UTC.")


class RefusedCount(Answer):
    """The refusals of one rule."""

    reason_id: str = Field(description="The name of the rule.", examples=["relay_denied"])
    count: Number = Field(description="The number of sessions, messages or recipients.", examples=[12])


class ShadowCount(Answer):
    """The refusals that one rule in shadow mode would have made."""

    reason_id: str = Field(description="The name of the rule.", examples=["dnsbl_listed"])
    rule_id: str | None = Field(description="The id of the access rule. null when it is not an access rule.")
    count: Number = Field(
        description="The number of messages, and of sessions that were refused for another reason.", examples=[3]
    )


class StatisticsBucket(Answer):
    """The counts of one period."""

    starts_at: Time = Field(description="When the period begins.")
    accepted: Number = Field(description="The number of messages that were accepted.")
    delivered: Number = Field(description="The number of recipients to whom mail was delivered.")
    deferred: Number = Field(description="The number of attempts after which a recipient is tried again.")
    bounced: Number = Field(description="The number of recipients that failed permanently or expired.")
    refused: list[RefusedCount] = Field(description="The refusals, by reason.")
    shadow: list[ShadowCount] = Field(description="The refusals that rules in shadow mode would have made.")


class Statistics(Answer):
    """Numbers of messages and recipients by time."""

    buckets: list[StatisticsBucket] = Field(
        description="The buckets in order of time. Buckets in which nothing happened are left out."
    )
