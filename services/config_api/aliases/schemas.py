"""What an alias is: an address that stands for others."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from services.config_api.fields import Address, Model, unique


class Alias(Model):
    """Mail for the address goes to the targets instead."""

    address: Address
    targets: Annotated[list[Address], Field(min_length=1, max_length=1000), AfterValidator(unique)] = Field(
        description="Where its mail goes; an alias may name other aliases."
    )
