"""The collection `/v1/accounts`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from services.config_api.accounts.schemas import Account
from services.config_api.fields import Model, address_key
from services.config_api.filters import boolean, exact, name_key
from services.config_api.resources import Body, Collection, Filter, Finding, Secret, Surroundings, UniqueKey


class AccountShown(Model):
    """What is read-only in an account."""

    has_password: bool = Field(description="Whether a password is set.")


async def check(body: Body, surroundings: Surroundings) -> Sequence[Finding]:
    """Addresses at domains that are not local get no mail here."""
    domains = {address.rpartition("@")[2] for address in body["addresses"]}
    local = await surroundings.taken("domain", sorted(domains)) if domains else frozenset()
    return [
        Finding(f"/addresses/{number}", "domain_not_local", "Its domain is not a local domain here.")
        for number, address in enumerate(body["addresses"])
        if address.rpartition("@")[2] not in local
    ]


ACCOUNTS = Collection(
    kind="accounts",
    noun="Account",
    plural="Accounts",
    label="account",
    tag="accounts",
    model=Account,
    secrets=(Secret(("password",), kept_as="argon2id"),),
    check=check,
    shown=AccountShown,
    show=lambda body: {"has_password": "password" in body},
    unique=lambda body: [
        UniqueKey("login", name_key(body["login"]), "/login"),
        *(
            UniqueKey("address", address_key(address), f"/addresses/{number}")
            for number, address in enumerate(body["addresses"])
        ),
    ],
    filters={
        "login": exact("login", "The login, without regard to case.", name_key),
        "address": Filter(
            "One of the account's addresses.", lambda body: [address_key(a) for a in body["addresses"]], address_key
        ),
        "enabled": boolean("enabled"),
    },
)
