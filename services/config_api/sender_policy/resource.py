"""The singleton `/v1/settings/sender-policy`."""

from __future__ import annotations

from services.config_api.resources import Singleton
from services.config_api.sender_policy.schemas import SenderPolicySettings

SENDER_POLICY = Singleton(
    kind="settings/sender-policy",
    noun="SenderPolicySettings",
    label="sender policy",
    tag="security",
    model=SenderPolicySettings,
)
