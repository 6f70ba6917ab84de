"""What a trusted network is: clients there may send anywhere with no login."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from services.config_api.fields import Model, Name, unique
from services.config_api.networks import Cidr


class TrustedNetwork(Model):
    """Clients in these networks may send anywhere with no login."""

    name: Name
    networks: Annotated[list[Cidr], Field(min_length=1, max_length=1000), AfterValidator(unique)] = Field(
        description="The networks.", examples=[["192.0.2.0/24", "2001:db8::/32"]]
    )
    enabled: bool = Field(default=True, description="false: as if it were not there.")
