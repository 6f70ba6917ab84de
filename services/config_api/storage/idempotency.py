"""Implements Idempotency-Key: a POST that is repeated with the same key is executed only once, and gets the first
answer again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.config_api.problems import FieldError, Problem, conflict
from services.config_api.secrets.sealing import Sealer
from services.config_api.storage.database import Database
from services.config_api.storage.identifiers import now_us
from services.config_api.storage.tables import idempotency

# The status of a request that has begun and has no answer yet.
_BEGUN = 0
# An entry that is stored among the headers, but is not a header. It has the id of the object that was made.
_MADE_ID = "made-id"
# After this time, the process that began a request has probably ended without an answer. It is longer than every
# time-out of a call to another service.
_ABANDONED_US = 10 * 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored answer."""

    status: int
    body: str = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    # The id of the object that was made, if the answer shows a secret. In this case only the id is stored.
    made_id: str | None = None


class ReplayResponse(Exception):  # noqa: N818 - no error, but it ends the request
    """Raised when the request was answered before. `answer` is the stored answer."""

    def __init__(self, answer: StoredResponse) -> None:
        super().__init__()
        self.answer = answer


class IdempotentRequest:
    """A request with an Idempotency-Key. Each caller has keys of its own. `fingerprint` is different for different
    requests.

    `actor_id` is the id of the caller's API key. The name is not used, because another API key may later get it.
    """

    def __init__(self, database: Database, sealer: Sealer, actor_id: str, key: str, fingerprint: bytes) -> None:
        self._database = database
        self._sealer = sealer
        self._row = {"actor": actor_id, "key": key, "fingerprint": fingerprint}

    async def recall(self, connection: AsyncConnection) -> None:
        """Looks for an earlier request with the key. Raises ReplayResponse when that request was answered. Raises
        Problem 409 when it has no answer yet, was a different request, or was answered with a secret.
        """
        row = (await connection.execute(select(idempotency).where(*self._mine()))).one_or_none()
        if row is None:
            return
        if row.fingerprint != self._row["fingerprint"]:
            raise conflict(
                [FieldError("/Idempotency-Key", "key_reused", "This key was used for another request.", "header")]
            )
        if row.status == _BEGUN:
            raise Problem(
                409,
                "in-progress",
                "The first request with this Idempotency-Key is still at work.",
                headers={"Retry-After": "2"},
            )
        headers = json.loads(row.headers)
        if _MADE_ID in headers:
            raise Problem(
                409,
                "already-made",
                "The request was done before, and its answer contained a secret, which is shown only once.",
                "If the secret was lost, rotate the key.",
                errors=[FieldError("/Idempotency-Key", "already_made", "This key was used already.", "header")],
                more={"id": headers[_MADE_ID]},
            )
        raise ReplayResponse(StoredResponse(row.status, self._sealer.open(row.body), headers))

    async def remember(self, connection: AsyncConnection, answer: StoredResponse) -> None:
        """Stores the answer, in the same transaction as the change. The body is encrypted. A body with a secret is not
        stored.
        """
        await connection.execute(insert(idempotency).values(**self._row, **self._kept(answer), created_at=now_us()))

    @contextlib.asynccontextmanager
    async def claimed(self) -> AsyncIterator[list[StoredResponse]]:
        """Reserves the Idempotency-Key for work outside our database. The caller adds its answer to the list. If the
        list stays empty, the Idempotency-Key can be used again.

        Raises the errors of `recall`.
        """
        await self._claim()
        answers: list[StoredResponse] = []
        try:
            yield answers
        finally:
            statement = update(idempotency).values(**self._kept(answers[0])) if answers else delete(idempotency)
            # The work is already done, so the request must not fail when its answer cannot be stored.
            with contextlib.suppress(SQLAlchemyError, OSError):
                async with self._database.writing() as connection:
                    await connection.execute(statement.where(*self._mine()))

    async def _claim(self) -> None:
        added = (sqlite.insert if self._database.is_sqlite else postgresql.insert)(idempotency)
        begun = self._kept(StoredResponse(_BEGUN, ""))
        async with self._database.writing() as connection:
            abandoned = (
                *self._mine(),
                idempotency.c.status == _BEGUN,
                idempotency.c.created_at < now_us() - _ABANDONED_US,
            )
            await connection.execute(delete(idempotency).where(*abandoned))
            values = {**self._row, **begun, "created_at": now_us()}
            if (await connection.execute(added.values(values).on_conflict_do_nothing())).rowcount == 0:
                await self.recall(connection)

    def _mine(self) -> tuple[ColumnElement[bool], ...]:
        return idempotency.c.actor == self._row["actor"], idempotency.c.key == self._row["key"]

    def _kept(self, answer: StoredResponse) -> dict[str, object]:
        if answer.made_id is not None:
            answer = StoredResponse(answer.status, "", {_MADE_ID: answer.made_id})
        return {
            "status": answer.status,
            "headers": json.dumps(answer.headers),
            "body": self._sealer.seal(answer.body),
        }
