"""The collection `/v1/aliases`."""

from __future__ import annotations

from services.config_api.aliases.schemas import Alias
from services.config_api.fields import address_key
from services.config_api.filters import exact
from services.config_api.resources import Collection, Filter, UniqueKey

ALIASES = Collection(
    kind="aliases",
    noun="Alias",
    plural="Aliases",
    label="alias",
    tag="accounts",
    model=Alias,
    unique=lambda body: [
        UniqueKey("address", address_key(body["address"]), "/address"),
        UniqueKey("alias", address_key(body["address"]), "/address"),
    ],
    filters={
        "address": exact("address", "The alias's address.", address_key),
        "target": Filter("One of its targets.", lambda body: [address_key(t) for t in body["targets"]], address_key),
    },
)
