"""The singleton `/v1/settings/connection-policy`."""

from __future__ import annotations

from services.config_api.connection_policy.schemas import ConnectionPolicySettings
from services.config_api.resources import Singleton

CONNECTION_POLICY = Singleton(
    kind="settings/connection-policy",
    noun="ConnectionPolicySettings",
    label="connection policy",
    tag="security",
    model=ConnectionPolicySettings,
)
