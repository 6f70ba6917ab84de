"""Statements that run for many rows at once: compiled once a dialect, their rows handed to the driver as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Insert, UpdateBase
from sqlalchemy.dialects import postgresql, sqlite

Row = tuple[Any, ...]


class Many:
    """An INSERT, UPDATE or DELETE with parameters in the order of `names`.

    SQLAlchemy's own executemany handles each row once more (bind processors, dictionaries), which costs more than
    SQLite's work on it. The rows here hold nothing but what both drivers take: int, str, bytes, bool, None.
    """

    def __init__(self, clause: UpdateBase, names: Sequence[str]) -> None:
        self._clause = clause
        self._names = tuple(names)
        # SQL, and where each of its parameters is found in a row with the constants behind it; None: in the same order.
        self._compiled: dict[str, tuple[str, Row, tuple[int, ...] | None]] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Runs it for each row; nothing for none."""
        if not rows:
            return
        text, constants, order = self._of(connection)
        if order is not None:
            whole = (row + constants for row in rows)
            rows = [tuple(row[index] for index in order) for row in whole]
        connection.exec_driver_sql(text, list(rows))

    def _of(self, connection: Connection) -> tuple[str, Row, tuple[int, ...] | None]:
        dialect = connection.dialect
        found = self._compiled.get(dialect.name)
        if found is None:
            columns = list(self._names) if isinstance(self._clause, Insert) else None
            compiled: Any = self._clause.compile(dialect=dialect, column_keys=columns)
            positions: list[str] = list(compiled.positiontup or ())
            constant = [name for name in positions if name not in self._names]
            known = [*self._names, *constant]
            order = tuple(known.index(name) for name in positions)
            in_order = order == tuple(range(len(self._names)))
            values = tuple(compiled.params[name] for name in constant)
            found = self._compiled[dialect.name] = str(compiled), values, None if in_order else order
        return found


def upsert(connection: Connection, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT, which each dialect has of its own."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
