"""What an API key is: who may call this API, and for what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.config_api.fields import Instant, Model, Name

ROLES = ("reader", "operator", "admin")


class ApiKey(Model):
    """Somebody who may call this API. The key itself is shown once, in the answer to its creation."""

    name: Name
    role: Literal["reader", "operator", "admin"] = Field(
        description="reader: sees everything but secrets; operator: also steers the queue, lifts blocks and tests "
        "relay hosts; admin: also changes settings and keys, and reads message content."
    )
    expires_at: Instant | None = Field(default=None, description="When it ends; null: never.")
