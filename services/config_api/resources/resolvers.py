"""The singleton `/v1/settings/resolvers`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from services.config_api.resources.description import Singleton
from services.config_api.resources.fields import Model, NameServer, unique

Servers = Annotated[list[NameServer], Field(max_length=8), AfterValidator(unique)]


class ResolverSettings(Model):
    """The name servers for relay domains. The MX sets of both lists are merged."""

    preferred: Servers = Field(default=[], description="The first group. Empty means the name servers of the system.")
    alternate: Servers = Field(
        default=[], description="The second group. Empty means that only the first group is asked."
    )


RESOLVERS = Singleton(
    kind="settings/resolvers", noun="ResolverSettings", label="resolvers", tag="relay control", model=ResolverSettings
)
