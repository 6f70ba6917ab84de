"""The singleton `/v1/settings/connection-policy`."""

from __future__ import annotations

from pydantic import Field

from services.config_api.resources.description import Singleton
from services.config_api.resources.fields import Mode, Model


class ConnectionPolicySettings(Model):
    """Limits and checks of clients by their addresses. Trusted networks are exempt."""

    reject_unknown_client_hostname: Mode = Field(
        default="off", description="A client without a PTR name that resolves to its address gets 450 4.7.25."
    )
    max_concurrent_connections: int = Field(
        default=50,
        ge=0,
        le=1_000_000,
        description="The most connections of one client at the same time. 0 means no limit.",
    )
    max_messages_per_minute: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="The most MAIL commands of one client in one minute of the clock. 0 means no limit.",
    )
    max_connections_per_minute: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="The most connections of one client in one minute of the clock. 0 means no limit.",
    )


CONNECTION_POLICY = Singleton(
    kind="settings/connection-policy",
    noun="ConnectionPolicySettings",
    label="connection policy",
    tag="security",
    model=ConnectionPolicySettings,
)
