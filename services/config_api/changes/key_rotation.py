"""Replaces the secret key: in one transaction, all encrypted values are decrypted and encrypted under the new key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.runtime.lifecycle import StartupError
from services.config_api.resources.catalogue import RESOURCES
from services.config_api.resources.description import Body, Resource, member, with_member
from services.config_api.secrets import sealing
from services.config_api.secrets.sealing import Sealer, SealError
from services.config_api.settings import Settings
from services.config_api.storage.database import Database
from services.config_api.storage.diff import dump, load
from services.config_api.storage.tables import changes, documents, idempotency

_BATCH = 500


async def rotate(settings: Settings) -> int:
    """Encrypts all secrets under a new key. Returns the number of encrypted values, which includes those in the history
    and stored answers.

    If the key is in a file, the new key is made here. The file has both keys while the database changes, so after a
    crash at any point the keys in the file can decrypt all values. If the key is in CONFIG_API_SECRET_KEY, the operator
    sets this variable to `new,old` before the rotation, and to `new` after it. Raises StartupError.
    """
    environment = settings.secret_key.get_secret_value()
    if environment and len([key for key in environment.split(",") if key.strip()]) < 2:
        raise StartupError("CONFIG_API_SECRET_KEY must contain the new key, a comma, and the old key")
    database = Database(settings.url)
    try:
        # The database is opened before the key file is written, because opening it fails while a config_api uses the
        # SQLite file. In this case nothing may be written, not even the key file (F40).
        await database.open()
        return await _reseal(database, environment, settings.data_dir)
    except SealError as error:
        raise StartupError(f"a stored secret cannot be decrypted with any of the keys: {error}") from error
    finally:
        await database.close()


async def _reseal(database: Database, environment: str, data_folder: Path) -> int:
    path = data_folder / sealing.KEY_FILE
    fresh = ""
    if not environment and path.exists():
        fresh = sealing.new_key()
        sealing.write_keys(path, [fresh, *sealing.read_keys(path)])
    sealer = sealing.load_sealer(environment, data_folder)
    async with database.writing() as connection:
        count = await _documents(connection, sealer)
        count += await _changes(connection, sealer)
        count += await _answers(connection, sealer)
    if fresh:
        sealing.write_keys(path, [fresh])
    return count


async def _documents(connection: AsyncConnection, sealer: Sealer) -> int:
    count = 0
    sealed_kinds = [kind for kind, resource in RESOURCES.items() if _sealed(resource)]
    mark = "internal/secret-key"
    query = select(documents.c.kind, documents.c.id, documents.c.body).where(
        documents.c.kind.in_([mark, *sealed_kinds])
    )
    for row in (await connection.execute(query)).all():
        body = load(row.body) or {}
        if row.kind == mark:
            resealed, resealed_count = {"sealed": sealer.seal(sealer.open(body["sealed"]))}, 0
        else:
            resealed, resealed_count = _resealed(RESOURCES[row.kind], body, sealer)
        where = (documents.c.kind == row.kind, documents.c.id == row.id)
        await connection.execute(update(documents).where(*where).values(body=dump(resealed)))
        count += resealed_count
    return count


async def _changes(connection: AsyncConnection, sealer: Sealer) -> int:
    """Encrypts the secrets in the changes of all revisions again, because a rollback restores them. Returns their
    number.
    """
    count = 0
    for kind, resource in RESOURCES.items():
        if not _sealed(resource):
            continue
        rows = (await connection.execute(select(changes).where(changes.c.kind == kind))).all()
        values: list[dict[str, Any]] = []
        for row in rows:
            sides: dict[str, Any] = {"b_revision": row.revision, "b_id": row.document_id}
            for side in ("before", "after"):
                body = load(getattr(row, side))
                sides[f"b_{side}"] = None
                if body is not None:
                    resealed, resealed_count = _resealed(resource, body, sealer)
                    sides[f"b_{side}"] = dump(resealed)
                    count += resealed_count
            values.append(sides)
        statement = (
            update(changes)
            .where(
                changes.c.kind == kind,
                changes.c.revision == bindparam("b_revision"),
                changes.c.document_id == bindparam("b_id"),
            )
            .values(before=bindparam("b_before"), after=bindparam("b_after"))
        )
        for start in range(0, len(values), _BATCH):
            await connection.execute(statement, values[start : start + _BATCH])
    return count


async def _answers(connection: AsyncConnection, sealer: Sealer) -> int:
    rows = (await connection.execute(select(idempotency.c.actor, idempotency.c.key, idempotency.c.body))).all()
    for row in rows:
        where = (idempotency.c.actor == row.actor, idempotency.c.key == row.key)
        body = sealer.seal(sealer.open(row.body))
        await connection.execute(update(idempotency).where(*where).values(body=body))
    return len(rows)


def _sealed(resource: Resource) -> bool:
    return any(secret.kept_as == "sealed" for secret in resource.secrets)


def _resealed(resource: Resource, body: Body, sealer: Sealer) -> tuple[Body, int]:
    count = 0
    for secret in resource.secrets:
        value = member(body, secret.path)
        if secret.kept_as == "sealed" and value is not None:
            body = with_member(body, secret.path, sealer.seal(sealer.open(value)))
            count += 1
    return body, count
