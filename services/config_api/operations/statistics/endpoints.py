"""The endpoint `/v1/statistics`: shows the numbers of messages and recipients that relay counts, by time and reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from services.config_api.http.context import app_context, needs
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import problem_responses
from services.config_api.operations.statistics import wire
from services.config_api.operations.statistics.schemas import BucketWidth, Statistics, StatisticsQuery
from services.config_api.problems import FieldError, invalid
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["queue"], route_class=Route)

_MOST_BUCKETS = 5_000
_DAY = timedelta(days=1)
_SECONDS = {BucketWidth.FIVE_MINUTES: 300, BucketWidth.HOUR: 3600, BucketWidth.DAY: 86_400}


@router.get(
    "/v1/statistics",
    operation_id="getStatistics",
    summary="Count messages and recipients by time",
    description="Counts messages that were accepted and refused, and recipients that were delivered, deferred and "
    "bounced, for as long as finished messages stay searchable (`retention_days`). Role: reader.",
    responses={200: {"model": Statistics}, **problem_responses()},
)
async def get_statistics(
    request: Request, _: Annotated[Actor, Depends(needs("reader"))], given: Annotated[StatisticsQuery, Query()]
) -> Response:
    before = given.before or datetime.now(UTC)
    after = given.after or before - _DAY
    seconds = _SECONDS[given.bucket]
    if after >= before:
        raise invalid([FieldError("/after", "order", "This time must be earlier than `before`.", "query")])
    if (before - after).total_seconds() // seconds >= _MOST_BUCKETS:
        text = f"At most {_MOST_BUCKETS} buckets are shown at once. Choose a longer width."
        raise invalid([FieldError("/bucket", "too_many_buckets", text, "query")])
    counts = await app_context(request).relay.statistics(wire.request(after, before, seconds))
    return JSONResponse(wire.statistics(counts))
