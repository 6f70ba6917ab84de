"""What `/v1/settings/resolvers` holds: the name servers that relay domains' MX are asked of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from services.config_api.fields import Model, NameServer, unique

Servers = Annotated[list[NameServer], Field(max_length=8), AfterValidator(unique)]


class ResolverSettings(Model):
    """Name servers for relay domains; the MX sets of both lists are merged."""

    preferred: Servers = Field(default=[], description="Asked first; empty: the system's.")
    alternate: Servers = Field(default=[], description="Asked too; empty: preferred alone.")
