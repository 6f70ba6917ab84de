"""Converts statistics of relay.v1 to the form of the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from posthouse.relay.v1 import relay_pb2 as pb

from services.config_api.operations.wire import when


def request(after: datetime, before: datetime, bucket_seconds: int) -> pb.GetStatisticsRequest:
    asked = pb.GetStatisticsRequest(bucket_seconds=bucket_seconds)
    asked.after.FromDatetime(after)
    asked.before.FromDatetime(before)
    return asked


def statistics(response: pb.GetStatisticsResponse) -> dict[str, Any]:
    return {"buckets": [_bucket(bucket) for bucket in response.buckets]}


def _bucket(bucket: pb.StatisticsBucket) -> dict[str, Any]:
    return {
        "starts_at": when(bucket, "starts_at"),
        "accepted": bucket.accepted,
        "delivered": bucket.delivered,
        "deferred": bucket.deferred,
        "bounced": bucket.bounced,
        "refused": [{"reason_id": each.reason_id, "count": each.count} for each in bucket.refused],
        "shadow": [
            {"reason_id": each.reason_id, "rule_id": each.rule_id or None, "count": each.count}
            for each in bucket.shadow
        ],
    }
