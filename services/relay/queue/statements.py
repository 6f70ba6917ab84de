"""Statements that run for each message. They are compiled once for each dialect, and executed directly by the driver.

SQLAlchemy's own execution (cache keys, bind processors, result objects) costs several times as much as SQLite's work on
such a statement. So SQLAlchemy's expression language only makes the text of the statement, and the driver runs it.
Parameters and columns have only types that both drivers support: int, str, bytes and None, with 0 and 1 for booleans.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Connection,
    Insert,
    UpdateBase,
    bindparam,
    column,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

Row = tuple[Any, ...]
# An expression, or a function that makes the expression for a named dialect.
Clause = Any | Callable[[str], Any]


class _Compiled(NamedTuple):
    """The statement for one dialect."""

    text: str
    constants: Row
    # For each parameter, its index in a row that is followed by the constants. None means that the order is the same.
    order: tuple[int, ...] | None
    # The parameters that a driver with a boolean type needs as booleans.
    booleans: frozenset[int]


def driver_of(connection: Connection) -> sqlite3.Connection | None:
    """Returns the connection of SQLite's driver, or None on PostgreSQL. So a statement does not pass through
    SQLAlchemy's layers.
    """
    driver: sqlite3.Connection | None = connection.get_execution_options().get("sqlite_driver")
    return driver


class _Text:
    """A clause, compiled to SQL for each dialect."""

    def __init__(self, clause: Clause, names: Sequence[str]) -> None:
        self._clause = clause
        self._names = tuple(names)
        self._compiled: dict[str, _Compiled] = {}

    def of(self, connection: Connection) -> _Compiled:
        return self._compiled.get(connection.dialect.name) or self._compile(connection)

    def _compile(self, connection: Connection) -> _Compiled:
        dialect, clause = connection.dialect, self._clause
        if not hasattr(clause, "compile"):
            clause = clause(dialect.name)
        columns = list(self._names) if isinstance(clause, Insert) else None
        compiled: Any = clause.compile(dialect=dialect, column_keys=columns)
        positions: list[str] = list(compiled.positiontup or ())
        constant = [name for name in positions if name not in self._names]
        known_names = [*self._names, *constant]
        order = tuple(known_names.index(name) for name in positions)
        in_order = order == tuple(range(len(self._names)))
        values = tuple(compiled.params[name] for name in constant)
        booleans = frozenset(index for index, name in enumerate(positions) if _is_boolean(compiled.binds[name]))
        compiled_text = _Compiled(str(compiled), values, None if in_order else order, booleans)
        self._compiled[dialect.name] = compiled_text
        return compiled_text


def _is_boolean(parameter: Any) -> bool:
    return isinstance(parameter.type, Boolean)


class Many:
    """An INSERT, UPDATE or DELETE that runs for many rows at once, with parameters in the order of `names`."""

    def __init__(self, clause: UpdateBase | Callable[[str], UpdateBase], names: Sequence[str]) -> None:
        self._text = _Text(clause, names)

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Runs the statement for each row, and does nothing without rows."""
        if not rows:
            return
        text, constants, order, booleans = self._text.of(connection)
        if order is not None:
            whole = (row + constants for row in rows)
            rows = [tuple(row[index] for index in order) for row in whole]
        driver = driver_of(connection)
        if driver is not None:
            driver.executemany(text, rows)
            return
        if booleans:
            rows = [
                tuple(bool(value) if index in booleans else value for index, value in enumerate(row)) for row in rows
            ]
        connection.exec_driver_sql(text, list(rows))


class Once:
    """A statement that runs once, with parameters in the order of `names`."""

    def __init__(self, clause: Clause, names: Sequence[str] = ()) -> None:
        self._text = _Text(clause, names)

    def run(self, connection: Connection, *parameters: Any) -> None:
        """Runs a statement that returns no rows."""
        self._execute(connection, parameters)

    def rows(self, connection: Connection, *parameters: Any) -> Sequence[Any]:
        """Runs the statement, and returns its rows as the driver gives them."""
        rows: Sequence[Any] = self._execute(connection, parameters).fetchall()
        return rows

    def value(self, connection: Connection, *parameters: Any) -> Any:
        """Returns the first column of the first row, or None when there is no row."""
        row = self._execute(connection, parameters).fetchone()
        return None if row is None else row[0]

    def _execute(self, connection: Connection, parameters: Row) -> Any:
        text, constants, order, _ = self._text.of(connection)
        if order is not None:
            whole = parameters + constants
            parameters = tuple(whole[index] for index in order)
        driver = driver_of(connection)
        if driver is not None:
            return driver.execute(text, parameters)
        return connection.exec_driver_sql(text, parameters)


def among(dialect: str, of: Any, parameter: str) -> ColumnElement[bool]:
    """Returns the condition that a column is one of the values of a parameter made by `listed`.

    SQLAlchemy's IN has one parameter for each value, so each number of values gives another text, which is compiled,
    parsed and planned again. This condition always has the same text.
    """
    condition: ColumnElement[bool]
    if dialect == "postgresql":
        condition = of == func.any(bindparam(parameter, type_=ARRAY(of.type)))
    else:
        condition = of.in_(select(column("value")).select_from(func.json_each(bindparam(parameter))))
    return condition


def not_among(dialect: str, of: Any, parameter: str) -> ColumnElement[bool]:
    """Returns the condition that a column is none of the values of a parameter made by `listed`."""
    condition: ColumnElement[bool]
    if dialect == "postgresql":
        condition = of != func.all(bindparam(parameter, type_=ARRAY(of.type)))
    else:
        condition = of.not_in(select(column("value")).select_from(func.json_each(bindparam(parameter))))
    return condition


def listed(connection: Connection, values: Collection[int] | Collection[str]) -> Any:
    """Returns the values as one parameter for `among`."""
    as_list = list(values)
    if connection.dialect.name != "sqlite":
        return as_list
    # Python's text of a list of numbers is valid JSON, and takes a tenth of the time of json.dumps.
    return json.dumps(as_list) if as_list and isinstance(as_list[0], str) else str(as_list)


def upsert(dialect: str, table: Any) -> Any:
    """Returns an INSERT with ON CONFLICT, for which each dialect of SQLAlchemy has its own class."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
