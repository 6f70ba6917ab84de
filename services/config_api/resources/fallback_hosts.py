"""Servers that are tried after another one: up to seven, so that a list has eight."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.config_api.resources.fields import Host, Model, Port


class FallbackHost(Model):
    """A server that is tried after another one."""

    host: Host
    port: Port = Field(description="TCP port.", examples=[25])


# pydantic gives each object a list of its own.
NO_FALLBACK: list[FallbackHost] = []

FallbackHosts = Annotated[
    list[FallbackHost],
    Field(
        max_length=7,
        description="Tried in this order, in the same attempt, when no connection to the host before comes about, or "
        "when it refuses the session for now. TLS and login are those of the first.",
    ),
]
