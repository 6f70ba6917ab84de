"""The singleton `/v1/settings/queue`."""

from __future__ import annotations

from services.config_api.queue_settings.schemas import QueueSettings
from services.config_api.resources import Singleton

QUEUE = Singleton(kind="settings/queue", noun="QueueSettings", label="queue settings", tag="queue", model=QueueSettings)
