"""The collection `/v1/api-keys`: made here, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from services.config_api.problems import invalid_field
from services.config_api.resources.description import (
    Body,
    CheckContext,
    Collection,
    Created,
    Filter,
    Finding,
    UniqueKey,
)
from services.config_api.resources.fields import Instant, Model, Name, fault
from services.config_api.resources.filters import exact, name_key

# Each may do what those before it may, but for handing in mail: that takes a key that stands for an account.
ROLES = ("sender", "reader", "operator", "admin")


# The names of the key in the environment and of the service itself: no key may have them in the audit log.
_RESERVED = frozenset({"config_api_admin_key", "posthouse"})


def _free(name: str) -> str:
    if name.casefold() in _RESERVED:
        raise fault("reserved", "it is the name of an actor of the service's own")
    return name


class ApiKey(Model):
    """Somebody who may call this API. The key itself is shown once, in the answer to its creation."""

    name: Annotated[Name, AfterValidator(_free)]
    role: Literal["sender", "reader", "operator", "admin"] = Field(
        description="sender: hands in mail for its account, and sees what became of it; reader: sees everything but "
        "secrets; operator: also steers the queue, lifts blocks and tests relay hosts; admin: also changes settings "
        "and keys, and reads message content.",
    )
    account: str | None = Field(
        default=None,
        max_length=255,
        description="Role sender: the login of the account that the key stands for. null with every other role.",
        examples=["alice"],
    )
    expires_at: Instant | None = Field(default=None, description="When it ends; null: never.")

    @model_validator(mode="after")
    def _account_of_sender(self) -> Self:
        if (self.role == "sender") is (self.account is None):
            raise fault("account", "the role sender needs an account, and no other role has one", "account")
        return self


# The hash of the key before the last rotation, while that key still works.
PREVIOUS_KEY = ("previous_prefix", "previous_key_hash", "previous_key_ends_at")
_PREFIX_OCTETS = 5
_SECRET_OCTETS = 32


class ApiKeyShown(Model):
    """What is read-only in an API key."""

    previous_key_ends_at: Instant | None = Field(
        default=None, description="Until when the key of before the last rotation works too; null: it does not."
    )
    prefix: str = Field(description="The key's first characters, to recognise it by.", examples=["ph_k3v9x2ab"])
    last_used_at: Instant | None = Field(default=None, description="Its last use, to the minute; null: never used.")
    key: str = Field(
        description="The key itself, in the answers of createApiKey and rotateApiKey alone. It is never shown again.",
        examples=["ph_1a2b3c4d5e_…"],
    )


def make_key() -> tuple[str, str, str]:
    """(key, its prefix, the hash that is kept). 256 random bits, so a plain hash keeps it as safe as a slow one."""
    prefix = "ph_" + secrets.token_hex(_PREFIX_OCTETS)
    key = f"{prefix}_{secrets.token_urlsafe(_SECRET_OCTETS)}"
    return key, prefix, hash_key(key)


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def rotated(body: Body, overlap_minutes: int) -> tuple[Body, str]:
    """(the hidden members of the stored body with a new key beside the old one, the new key)."""
    key, prefix, hashed = make_key()
    hidden = {"prefix": prefix, "key_hash": hashed}
    if overlap_minutes:
        ends_at = datetime.now(UTC) + timedelta(minutes=overlap_minutes)
        hidden |= {
            "previous_prefix": body["prefix"],
            "previous_key_hash": body["key_hash"],
            "previous_key_ends_at": ends_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
    return hidden, key


def _show(body: Body) -> Body:
    ends_at = body.get("previous_key_ends_at")
    has_ended = ends_at is None or datetime.fromisoformat(ends_at) <= datetime.now(UTC)
    return {"prefix": body["prefix"], "previous_key_ends_at": None if has_ended else ends_at}


async def _refuse(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    login = body.get("account")
    if login is not None and not any(
        account["login"] == login for account in await check_context.matching("accounts", "login", name_key(login))
    ):
        raise invalid_field("/account", "unknown_account", "There is no account with this login.")
    return ()


async def _create(_: BaseModel) -> Created:
    key, prefix, hashed = make_key()
    return Created(hidden={"prefix": prefix, "key_hash": hashed}, shown_once={"key": key})


API_KEYS = Collection(
    kind="api-keys",
    noun="ApiKey",
    plural="ApiKeys",
    label="API key",
    tag="access",
    model=ApiKey,
    hidden=("prefix", "key_hash", *PREVIOUS_KEY),
    create=_create,
    refuse=_refuse,
    shown=ApiKeyShown,
    show=_show,
    unique=lambda body: [UniqueKey("api-keys/name", name_key(body["name"]), "/name")],
    filters={
        "name": exact("name", "The key's name, without regard to case.", name_key),
        "prefix": Filter(
            "The key's first characters; those of the key of before the last rotation too.",
            lambda body: [body[name] for name in ("prefix", "previous_prefix") if name in body],
        ),
        "role": exact("role", "admin, operator, reader or sender.", choices=ROLES),
    },
    portable=False,
)
