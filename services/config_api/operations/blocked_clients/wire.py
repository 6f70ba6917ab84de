"""Converts blocked clients of policy.v1 to the form of the API."""

from __future__ import annotations

from typing import Any

from posthouse.policy.v1 import policy_pb2 as pb

from services.config_api.operations.wire import when


def blocked_client(found: pb.BlockedClient) -> dict[str, Any]:
    return {
        "client": found.client,
        "reason": found.reason,
        "count": found.count,
        "blocked_at": when(found, "blocked_at"),
        "ends_at": when(found, "ends_at"),
    }
