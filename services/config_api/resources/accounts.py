"""The collection `/v1/accounts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from services.config_api.resources.aliases import catching_all
from services.config_api.resources.description import (
    Body,
    CheckContext,
    Collection,
    Filter,
    Finding,
    Secret,
    UniqueKey,
    named,
)
from services.config_api.resources.fields import (
    MailAddress,
    Model,
    Password,
    PasswordHash,
    address_key,
    composed,
    fault,
    unique,
)
from services.config_api.resources.filters import boolean, exact, name_key

Login = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^\u0000-\u0020\u007f-\u00a0\u2028\u2029]+$",
        examples=["alice", "alice@example.com"],
        description="The name with which the client logs in. It is unique without regard to case, and stored in NFC.",
    ),
    composed(255),
]


class Account(Model):
    """A login, with the addresses whose mail goes to its mailbox."""

    login: Login
    password: Password | None = Field(
        default=None,
        description="Write-only, without control characters, and stored as argon2id. If a PUT or PATCH leaves it "
        "out, it is kept. With null, or when it was never given, nobody can log in.",
        json_schema_extra={"writeOnly": True},
    )
    password_hash: PasswordHash | None = Field(
        default=None,
        description="Write-only, in place of `password`: argon2id in PHC form, or SHA512-CRYPT or BLF-CRYPT in the "
        "form of crypt(3) and Dovecot. The latter two become argon2id at the next login.",
        json_schema_extra={"writeOnly": True},
    )
    addresses: Annotated[list[MailAddress], Field(max_length=1000), AfterValidator(unique)] = Field(
        default=[],
        description="The addresses whose mail goes to this account. An address belongs to only one account or alias.",
    )
    enabled: bool = Field(default=True, description="false means that it has no effect.")

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_hash is not None:
            raise fault("two_passwords", "accepts only one of password and password_hash", "password_hash")
        return self


class AccountShown(Model):
    """The read-only members of an account."""

    password_set: bool = Field(description="Whether a password is set.")


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Warns about addresses in domains that are not local, because these addresses get no mail."""
    domains = {address.rpartition("@")[2] for address in body["addresses"]}
    local = await check_context.taken("domain", sorted(domains)) if domains else frozenset()
    return [
        Finding(f"/addresses/{number}", "domain_not_local", "The domain of this address is not a local domain.")
        for number, address in enumerate(body["addresses"])
        if address.rpartition("@")[2] not in local
    ]


async def references(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Warns about aliases, catch-alls and postmasters that lead to the account's addresses (F18), and about API keys
    for its login.
    """
    keys = [address_key(address) for address in body["addresses"]]
    aliases = [alias["address"] for key in keys for alias in await check_context.matching("aliases", "target", key)]
    api_keys = [key["name"] for key in await check_context.others("api-keys") if key["account"] == body["login"]]
    general = await check_context.settings("settings/general")
    postmasters = [address for address in general["external_postmasters"] if address_key(address) in keys]
    return [
        *named("target_of_alias", "The alias {} leads to this account.", list(dict.fromkeys(aliases))),
        *named("external_postmaster", "The external postmaster {} is an address of this account.", postmasters),
        *named("catch_all", "The catch-all of {} leads to this account.", await catching_all(keys, check_context)),
        *named("account_of_api_key", "The API key {} submits mail for this account.", api_keys),
    ]


def _lost(before: Body, after: Body) -> Body | None:
    """Returns the body of an account with only the addresses that it loses, and with its former login if that changes.
    Returns None when the account loses neither.
    """
    keys = {address_key(address) for address in after["addresses"]}
    addresses = [address for address in before["addresses"] if address_key(address) not in keys]
    # The empty text means that the login does not change, because no login is empty.
    login = before["login"] if before["login"] != after["login"] else ""
    return {**before, "addresses": addresses, "login": login} if addresses or login else None


ACCOUNTS = Collection(
    kind="accounts",
    noun="Account",
    plural="Accounts",
    label="account",
    tag="accounts",
    model=Account,
    secrets=(Secret(("password",), kept_as="argon2id", hash_path=("password_hash",)),),
    check=check,
    references=references,
    lost=_lost,
    shown=AccountShown,
    show=lambda body: {"password_set": "password" in body},
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
            "An address of the account.", lambda body: [address_key(a) for a in body["addresses"]], address_key
        ),
        "enabled": boolean("enabled"),
    },
)
