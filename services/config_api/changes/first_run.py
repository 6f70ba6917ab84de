"""Prepares the database at each start: adds missing settings, makes an admin key if there is none, and checks the
secret key.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from pathlib import Path

import structlog
from sqlalchemy import select

from libs.runtime.lifecycle import StartupError, write_private
from libs.smtp.address import canonical_domain, is_host_name
from services.config_api.changes.editor import validate
from services.config_api.changes.last_admin_key import has_admin_key
from services.config_api.resources.api_keys import API_KEYS, make_key
from services.config_api.resources.catalogue import SINGLETONS
from services.config_api.resources.description import Body, Singleton
from services.config_api.resources.general import FALLBACK_HOSTNAME
from services.config_api.secrets.sealing import Sealer, SealError
from services.config_api.storage.documents import Store, find
from services.config_api.storage.identifiers import now_us
from services.config_api.storage.revision import Actor, Revision, Write
from services.config_api.storage.tables import documents, unique_keys

log = structlog.get_logger(__name__)

ADMIN_KEY_FILE = "admin-key"
_SYSTEM = Actor("posthouse", "admin")
_MARK_KIND, _MARK_ID = "internal/secret-key", "mark"
_NAME_SECONDS = 2


async def prepare(store: Store, sealer: Sealer, data_folder: Path, environment_key: str) -> None:
    """Adds the objects that are missing. When there is no admin key, makes one, and writes the key only to a file.

    Replicas that start at the same time do this one after the other, so the later replicas find the objects of the
    first. Raises StartupError when the stored secrets were encrypted under another key.
    """
    hostname = await _hostname()
    async with store.revision(_SYSTEM, "initialise") as revision:
        revision.target = "settings"
        revision.summary = "initial settings"
        await _check_mark(revision, sealer)
        for singleton in SINGLETONS:
            if await find(revision.connection, singleton.kind, singleton.kind) is None:
                await revision.apply([Write(singleton, singleton.kind, None, initial(singleton, hostname))])
        if not environment_key and not await has_admin_key(revision.connection):
            await _make_admin_key(revision, store, data_folder)


def initial(singleton: Singleton, hostname: str) -> Body:
    """Returns the body that a singleton has in a new database. Defaults are not stored, so that a later change of a
    default takes effect.
    """
    given = {"profile": {"hostname": hostname}} if singleton.kind == "settings/general" else {}
    body: Body = validate(singleton, given).model_dump(mode="json", exclude_unset=True)
    return body


async def _check_mark(revision: Revision, sealer: Sealer) -> None:
    """Checks, with a stored encrypted value, that the secrets were encrypted under the present secret key."""
    mark = await find(revision.connection, _MARK_KIND, _MARK_ID)
    if mark is None:
        await revision.connection.execute(
            documents.insert().values(
                kind=_MARK_KIND,
                id=_MARK_ID,
                body='{"sealed":"' + sealer.seal("posthouse") + '"}',
                version=0,
                created_at=now_us(),
                updated_at=now_us(),
            )
        )
        return
    try:
        sealer.open(mark.body["sealed"])
    except SealError:
        raise StartupError(
            "the secrets in the database were encrypted under another key: set CONFIG_API_SECRET_KEY to it, "
            "or put its key file back"
        ) from None


async def _make_admin_key(revision: Revision, store: Store, data_folder: Path) -> None:
    key, prefix, hashed = make_key()
    await asyncio.to_thread(_keep, data_folder, key)
    body = {
        "name": await _free_name(revision),
        "role": "admin",
        "expires_at": None,
        "prefix": prefix,
        "key_hash": hashed,
    }
    await revision.apply([Write(API_KEYS, store.identifiers.new(), None, body)])
    log.info("admin_key_made", file=str(data_folder / ADMIN_KEY_FILE))


async def _free_name(revision: Revision) -> str:
    """Returns a name that no API key has. Names of expired keys are still in use."""
    query = select(unique_keys.c.value).where(unique_keys.c.scope == "api-keys/name")
    taken_names = set((await revision.connection.execute(query)).scalars())
    names = itertools.chain(["admin"], (f"admin {number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken_names)


def _keep(data_folder: Path, key: str) -> None:
    data_folder.mkdir(parents=True, exist_ok=True)
    write_private(data_folder / ADMIN_KEY_FILE, f"{key}\n".encode())


async def _hostname() -> str:
    """Returns the fully qualified name of the machine, or FALLBACK_HOSTNAME if it has none."""
    names = [socket.gethostname()]
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(_NAME_SECONDS):
            names.append(await asyncio.to_thread(socket.getfqdn))
    for name in names:
        with contextlib.suppress(ValueError):
            canonical = canonical_domain(name)
            if is_host_name(canonical) and not canonical.startswith("localhost."):
                return canonical
    return FALLBACK_HOSTNAME
