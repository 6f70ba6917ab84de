"""Defines fallback hosts: at most seven servers that are tried when the first server cannot be reached or temporarily
refuses a session.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.config_api.resources.fields import Host, Model, Port


class FallbackHost(Model):
    """A server that is tried after another one."""

    host: Host
    port: Port = Field(description="TCP port.", examples=[25])


# This list can be a default, because pydantic makes a separate copy for each object.
NO_FALLBACK: list[FallbackHost] = []

FallbackHosts = Annotated[
    list[FallbackHost],
    Field(
        max_length=7,
        description="The servers are tried in this order, in the same attempt, when no connection to the earlier "
        "host can be made, or when it temporarily refuses the session. TLS and login are those of the "
        "first host.",
    ),
]
