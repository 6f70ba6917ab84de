"""The collection `/v1/aliases`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from services.config_api.resources.description import Body, Collection, Filter, Finding, Surroundings, UniqueKey
from services.config_api.resources.fields import Address, Model, address_key, unique
from services.config_api.resources.filters import exact


class Alias(Model):
    """Mail for the address goes to the targets instead."""

    address: Address
    targets: Annotated[list[Address], Field(min_length=1, max_length=1000), AfterValidator(unique)] = Field(
        description="Where its mail goes; an alias may name other aliases."
    )


async def check(body: Body, _: Surroundings) -> Sequence[Finding]:
    """The alias itself as a target: expansion leaves it out, and mail is returned (5.4.6) when it is all there is."""
    own = address_key(body["address"])
    return [
        Finding(f"/targets/{number}", "loop", "It is the alias itself, which gets nothing by it.")
        for number, target in enumerate(body["targets"])
        if address_key(target) == own
    ]


ALIASES = Collection(
    kind="aliases",
    noun="Alias",
    plural="Aliases",
    label="alias",
    tag="accounts",
    model=Alias,
    check=check,
    unique=lambda body: [
        UniqueKey("address", address_key(body["address"]), "/address"),
        UniqueKey("alias", address_key(body["address"]), "/address"),
    ],
    filters={
        "address": exact("address", "The alias's address.", address_key),
        "target": Filter("One of its targets.", lambda body: [address_key(t) for t in body["targets"]], address_key),
    },
)
