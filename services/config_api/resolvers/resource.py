"""The singleton `/v1/settings/resolvers`."""

from __future__ import annotations

from services.config_api.resolvers.schemas import ResolverSettings
from services.config_api.resources import Singleton

RESOLVERS = Singleton(
    kind="settings/resolvers", noun="ResolverSettings", label="resolvers", tag="relay control", model=ResolverSettings
)
