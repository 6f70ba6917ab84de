"""The collection `/v1/api-keys`. The service makes keys, shows them once, and stores only their hashes."""

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

# Each role may do what the roles before it may do. The exception is the submission of mail, for which the key must
# belong to an account.
ROLES = ("sender", "reader", "operator", "admin")


# The names of the environment's key and of the service in the audit log. No stored key may have one of them.
_RESERVED = frozenset({"config_api_admin_key", "posthouse"})


def _free(name: str) -> str:
    if name.casefold() in _RESERVED:
        raise fault("reserved", "this is the name of an actor of the service itself")
    return name


class ApiKey(Model):
    """A caller of this API. The key itself is shown once, in the answer to its creation."""

    name: Annotated[Name, AfterValidator(_free)]
    role: Literal["sender", "reader", "operator", "admin"] = Field(
        description="sender: submits mail for its account, and sees what happened to it. reader: sees everything "
        "except secrets. operator: also acts on the queue, lifts blocks and tests relay hosts. admin: "
        "also changes settings and keys, and reads the content of messages.",
    )
    account: str | None = Field(
        default=None,
        max_length=255,
        description="For the role sender: the login of the account to which the key belongs. null with every other "
        "role.",
        examples=["alice"],
    )
    expires_at: Instant | None = Field(default=None, description="When the key expires. null means never.")

    @model_validator(mode="after")
    def _account_of_sender(self) -> Self:
        if (self.role == "sender") is (self.account is None):
            raise fault("account", "the role sender needs an account, and no other role has one", "account")
        return self


# The hidden members about the previous key, which still works until the overlap of a rotation ends.
PREVIOUS_KEY = ("previous_prefix", "previous_key_hash", "previous_key_ends_at")
_PREFIX_OCTETS = 5
_SECRET_OCTETS = 32


class ApiKeyShown(Model):
    """The read-only members of an API key."""

    previous_key_ends_at: Instant | None = Field(
        default=None,
        description="The time until which the previous key also works after a rotation. null means "
        "that it does not work.",
    )
    prefix: str = Field(
        description="The first characters of the key, by which it can be recognised.", examples=["ph_k3v9x2ab"]
    )
    last_used_at: Instant | None = Field(
        default=None, description="The time of its last use, to the minute. null means that it was never used."
    )
    key: str = Field(
        description="The key itself, only in the answers of createApiKey and rotateApiKey. It is never shown again.",
        examples=["ph_1a2b3c4d5e_…"],
    )


def make_key() -> tuple[str, str, str]:
    """Makes a key. Returns (key, its prefix, the hash to store). A fast hash suffices, because nobody can guess a key
    with 256 random bits.
    """
    prefix = "ph_" + secrets.token_hex(_PREFIX_OCTETS)
    key = f"{prefix}_{secrets.token_urlsafe(_SECRET_OCTETS)}"
    return key, prefix, hash_key(key)


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def rotated(body: Body, overlap_minutes: int) -> tuple[Body, str]:
    """Makes a new key for a stored body. Returns (the hidden members, with the previous key if there is an overlap, the
    new key).
    """
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
        "name": exact("name", "The name of the key, without regard to case.", name_key),
        "prefix": Filter(
            "The first characters of the key, or of the previous key after a rotation.",
            lambda body: [body[name] for name in ("prefix", "previous_prefix") if name in body],
        ),
        "role": exact("role", "admin, operator, reader or sender.", choices=ROLES),
    },
    portable=False,
)
