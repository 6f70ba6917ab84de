"""The table in which replicas of config_api that share a PostgreSQL database report themselves and their watches to
each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import BigInteger, ColumnElement, Float, cast, delete, func, select
from sqlalchemy.dialects import postgresql

from services.config_api.storage.database import Database
from services.config_api.storage.tables import replicas

# A row that is not renewed for this time is ignored.
FRESH_SECONDS = 10.0
_DROPPED_SECONDS = 60.0
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """A replica of config_api, or a replica of policy or relay. Its holder is the config_api that renews the row."""

    service: str
    name: str
    holder: str
    revision: int
    address: str = ""
    transport: str = ""
    version: str = ""


class ReplicaTable:
    """Writes the rows of one holder, and reads those of others. All times are by the clock of the database."""

    def __init__(self, database: Database, holder: str) -> None:
        self.holder = holder
        self._database = database

    async def renew(self, rows: Sequence[ReplicaRow]) -> None:
        """Writes the rows of the holder. Removes its other rows, and rows that nobody renews."""
        now = _now()
        names = [(row.service, row.name) for row in rows]
        async with self._database.writing() as connection:
            statement = postgresql.insert(replicas)
            changing = ("revision", "address", "transport", "version")
            renewed = statement.on_conflict_do_update(
                index_elements=["holder", "service", "name"],
                set_={"seen_at": now, **{name: statement.excluded[name] for name in changing}},
            )
            # The rows are sorted by key, so that two transactions cannot cause a deadlock.
            for row in sorted(rows, key=lambda row: (row.service, row.name)):
                await connection.execute(renewed.values(**asdict(row), seen_at=now))
            own = [
                each
                for each in await connection.execute(
                    select(replicas.c.service, replicas.c.name).where(replicas.c.holder == self.holder)
                )
                if (each.service, each.name) not in names
            ]
            for each in own:
                await connection.execute(
                    delete(replicas).where(
                        replicas.c.holder == self.holder,
                        replicas.c.service == each.service,
                        replicas.c.name == each.name,
                    )
                )
            await connection.execute(
                delete(replicas).where(replicas.c.seen_at < now - int(_DROPPED_SECONDS * _MICROSECONDS))
            )

    async def leave(self) -> None:
        """Removes the rows of the holder."""
        async with self._database.writing() as connection:
            await connection.execute(delete(replicas).where(replicas.c.holder == self.holder))

    async def others(self) -> list[ReplicaRow]:
        """Returns the rows of other holders that are still renewed."""
        fresh = replicas.c.seen_at > _now() - int(FRESH_SECONDS * _MICROSECONDS)
        query = select(replicas).where(replicas.c.holder != self.holder, fresh).order_by(replicas.c.name)
        async with self._database.reading() as connection:
            return [
                ReplicaRow(row.service, row.name, row.holder, row.revision, row.address, row.transport, row.version)
                for row in await connection.execute(query)
            ]


def _now() -> ColumnElement[int]:
    seconds = cast(func.extract("epoch", func.clock_timestamp()), Float(53))
    return cast(seconds * _MICROSECONDS, BigInteger)
