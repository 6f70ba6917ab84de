"""The singleton `/v1/settings/advanced-security`."""

from __future__ import annotations

from services.config_api.advanced_security.schemas import AdvancedSecuritySettings
from services.config_api.resources import Singleton

ADVANCED_SECURITY = Singleton(
    kind="settings/advanced-security",
    noun="AdvancedSecuritySettings",
    label="advanced security",
    tag="security",
    model=AdvancedSecuritySettings,
)
