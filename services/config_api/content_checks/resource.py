"""The singleton `/v1/settings/content-checks`."""

from __future__ import annotations

from services.config_api.content_checks.schemas import ContentChecksSettings
from services.config_api.resources import Singleton

CONTENT_CHECKS = Singleton(
    kind="settings/content-checks",
    noun="ContentChecksSettings",
    label="content checks",
    tag="security",
    model=ContentChecksSettings,
)
