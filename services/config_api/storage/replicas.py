"""The table in which replicas of config_api that share a PostgreSQL database report themselves and their watches to
each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Float, bindparam, cast, delete, func, select
from sqlalchemy.dialects import postgresql

from services.config_api.storage.database import Database
from services.config_api.storage.tables import replicas

# A row that was not renewed for this time is ignored.
FRESH_SECONDS = 10.0
_DROPPED_SECONDS = 60.0
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """The row of a replica of config_api, policy or relay. `holder` is the config_api process that renews the row."""

    service: str
    name: str
    holder: str
    revision: int
    address: str = ""
    transport: str = ""
    version: str = ""


class ReplicaTable:
    """Writes the rows of one holder, and reads the rows of others. All times are by the clock of the database."""

    def __init__(self, database: Database, holder: str) -> None:
        self.holder = holder
        self._database = database

    async def renew(self, rows: Sequence[ReplicaRow]) -> None:
        """Writes the rows of the holder. Removes its other rows, and rows that nobody has renewed for a long time."""
        names = [(row.service, row.name) for row in rows]
        async with self._database.writing() as connection:
            await connection.execute(_WRITE, _parameters(rows))
            found = await connection.execute(_ROWS_OF_HOLDER, {"b_holder": self.holder})
            gone = [{"b_service": each.service, "b_name": each.name} for each in found if tuple(each) not in names]
            if gone:
                await connection.execute(_REMOVE, [{"b_holder": self.holder, **each} for each in gone])
            await connection.execute(_REMOVE_OLD)

    async def write(self, rows: Sequence[ReplicaRow]) -> None:
        """Writes some of the rows of the holder."""
        async with self._database.writing() as connection:
            await connection.execute(_WRITE, _parameters(rows))

    async def leave(self) -> None:
        """Removes the rows of the holder."""
        async with self._database.writing() as connection:
            await connection.execute(delete(replicas).where(replicas.c.holder == self.holder))

    async def others(self) -> list[ReplicaRow]:
        """Returns the rows of other holders that were renewed recently."""
        async with self._database.reading(once=True) as connection:
            return [
                ReplicaRow(row.service, row.name, row.holder, row.revision, row.address, row.transport, row.version)
                for row in await connection.execute(_OTHERS, {"b_holder": self.holder})
            ]


def _parameters(rows: Sequence[ReplicaRow]) -> list[dict[str, Any]]:
    """Returns the parameters of `_WRITE`. The rows are sorted by key, so that two transactions cannot cause a
    deadlock.
    """
    return [asdict(row) for row in sorted(rows, key=lambda row: (row.service, row.name))]


def _now() -> ColumnElement[int]:
    seconds = cast(func.extract("epoch", func.clock_timestamp()), Float(53))
    return cast(seconds * _MICROSECONDS, BigInteger)


def _write_statement() -> Any:
    added = postgresql.insert(replicas).values(
        {column.name: bindparam(column.name) for column in replicas.c if column.name != "seen_at"} | {"seen_at": _now()}
    )
    changing = ("revision", "address", "transport", "version", "seen_at")
    return added.on_conflict_do_update(
        index_elements=["holder", "service", "name"], set_={name: added.excluded[name] for name in changing}
    )


# The statements are made once, because making a statement costs about as much as its execution.
_WRITE = _write_statement()
_ROWS_OF_HOLDER = select(replicas.c.service, replicas.c.name).where(replicas.c.holder == bindparam("b_holder"))
_REMOVE = delete(replicas).where(
    replicas.c.holder == bindparam("b_holder"),
    replicas.c.service == bindparam("b_service"),
    replicas.c.name == bindparam("b_name"),
)
_REMOVE_OLD = delete(replicas).where(replicas.c.seen_at < _now() - int(_DROPPED_SECONDS * _MICROSECONDS))
_OTHERS = (
    select(replicas)
    .where(
        replicas.c.holder != bindparam("b_holder"),
        replicas.c.seen_at > _now() - int(FRESH_SECONDS * _MICROSECONDS),
    )
    .order_by(replicas.c.name)
)
