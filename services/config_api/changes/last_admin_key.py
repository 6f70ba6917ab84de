"""Makes sure that an admin's API key remains. Without an admin, nobody could make API keys."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.config_api.problems import Problem
from services.config_api.resources.api_keys import API_KEYS
from services.config_api.resources.defaults import complete
from services.config_api.storage.diff import load
from services.config_api.storage.tables import documents


async def has_admin_key(connection: AsyncConnection) -> bool:
    """Whether there is an admin key that has not expired."""
    query = select(documents.c.body).where(documents.c.kind == API_KEYS.kind)
    now = datetime.now(UTC)
    for text in (await connection.execute(query)).scalars():
        body = complete(API_KEYS, load(text) or {})
        if body["role"] != "admin":
            continue
        if body["expires_at"] is None or datetime.fromisoformat(body["expires_at"]) > now:
            return True
    return False


async def require_one(connection: AsyncConnection) -> None:
    """Checks in the transaction of a change that an admin key remains. Raises Problem 409."""
    if not await has_admin_key(connection):
        raise Problem(
            409,
            "last-admin-key",
            "This is the last key of an admin.",
            "Make another admin key first, because without one nobody could change the configuration.",
        )
