"""The collection `/v1/api-keys`: made here, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets

from pydantic import Field

from services.config_api.api_keys.schemas import ROLES, ApiKey
from services.config_api.fields import Instant, Model
from services.config_api.filters import exact, name_key
from services.config_api.resources import Body, Collection, Created, UniqueKey

_PREFIX_OCTETS = 5
_SECRET_OCTETS = 32


class ApiKeyShown(Model):
    """What is read-only in an API key."""

    prefix: str = Field(description="The key's first characters, to recognise it by.", examples=["ph_k3v9x2ab"])
    last_used_at: Instant | None = Field(default=None, description="Its last use, to the minute; null: never used.")


def make_key() -> tuple[str, str, str]:
    """(key, its prefix, the hash that is kept). 256 random bits, so a plain hash keeps it as safe as a slow one."""
    prefix = "ph_" + secrets.token_hex(_PREFIX_OCTETS)
    key = f"{prefix}_{secrets.token_urlsafe(_SECRET_OCTETS)}"
    return key, prefix, hash_key(key)


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


async def _create(_: Body) -> Created:
    key, prefix, hashed = make_key()
    return Created(hidden={"prefix": prefix, "key_hash": hashed}, shown_once={"key": key})


API_KEYS = Collection(
    kind="api-keys",
    noun="ApiKey",
    plural="ApiKeys",
    label="API key",
    tag="access",
    model=ApiKey,
    hidden=("prefix", "key_hash"),
    create=_create,
    shown=ApiKeyShown,
    show=lambda body: {"prefix": body["prefix"]},
    unique=lambda body: [UniqueKey("api-keys/name", name_key(body["name"]), "/name")],
    filters={
        "name": exact("name", "The key's name, without regard to case.", name_key),
        "prefix": exact("prefix", "The key's first characters."),
        "role": exact("role", "admin, operator or reader.", choices=ROLES),
    },
    portable=False,
)
