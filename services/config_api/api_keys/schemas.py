"""What an API key is: who may call this API, and for what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from services.config_api.fields import Instant, Model, Name, fault

ROLES = ("reader", "operator", "admin")


# Of the key in the environment, and of what the service does by itself: nobody passes for them in the audit log.
_RESERVED = frozenset({"config_api_admin_key", "posthouse"})


def _free(name: str) -> str:
    if name.casefold() in _RESERVED:
        raise fault("reserved", "it is the name of an actor of the service's own")
    return name


class ApiKey(Model):
    """Somebody who may call this API. The key itself is shown once, in the answer to its creation."""

    name: Annotated[Name, AfterValidator(_free)]
    role: Literal["reader", "operator", "admin"] = Field(
        description="reader: sees everything but secrets; operator: also steers the queue, lifts blocks and tests "
        "relay hosts; admin: also changes settings and keys, and reads message content."
    )
    expires_at: Instant | None = Field(default=None, description="When it ends; null: never.")
