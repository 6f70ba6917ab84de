"""Runs relay and sends it a signal at one point of one transaction: `python -m tests.relay.dying_relay POINT SIGNAL`.

What the transaction has written to the tables defines the point, so the point does not depend on the code of relay.
"""

from __future__ import annotations

import enum
import os
import signal
import sys
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url

from libs.runtime import lifecycle
from services.relay import __main__ as relay
from services.relay.model.states import Kind, State
from services.relay.queue.database import (
    Connection,
    Database,
    PostgresqlDatabase,
    SqliteDatabase,
    T,
    Work,
    open_database,
)

_STORED = "SELECT count(*) FROM messages WHERE submission_id IS NOT NULL"
_CLAIMED = "SELECT count(*) FROM deliveries WHERE lease_owner IS NOT NULL AND attempts > 0"
_SETTLED = f"SELECT count(*) FROM deliveries WHERE state = {State.DELIVERED:d}"
_REPORTED = f"SELECT count(*) FROM messages WHERE kind = {Kind.REPORT:d}"


class Point(enum.Enum):
    """A point is reached when its statement first counts a row. Its flag says whether the row must be committed."""

    BEFORE_STORING_IS_COMMITTED = _STORED, False
    STORED_AND_NOT_ACKNOWLEDGED = _STORED, True
    CLAIMED = _CLAIMED, True
    BEFORE_SETTLING_IS_COMMITTED = _SETTLED, False
    SETTLED = _SETTLED, True
    BEFORE_THE_REPORT_IS_COMMITTED = _REPORTED, False
    REPORTED = _REPORTED, True


class _Dying:
    """A database that sends this process the signal when the point is reached."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sql, self._committed = Point[sys.argv[1]].value

    async def write(self, work: Work[T]) -> T:
        reached = False

        def watched(connection: Connection) -> T:
            nonlocal reached
            result = work(connection)
            reached = bool(connection.execute(text(self._sql)).scalar())
            if reached and not self._committed:
                self._die()
            return result

        result: T = await super().write(watched)  # type: ignore[misc]
        if reached:
            self._die()
        return result

    def _die(self) -> None:
        # After SIGTERM the process runs for a while. In this time the signal must not be sent again.
        self._sql = "SELECT 0"
        os.kill(os.getpid(), signal.Signals[sys.argv[2]])


class _DyingSqlite(_Dying, SqliteDatabase):
    pass


class _DyingPostgresql(_Dying, PostgresqlDatabase):
    pass


def _open(url: str) -> Database:
    whole = open_database(url)
    if isinstance(whole, SqliteDatabase):
        return _DyingSqlite(whole.path)
    return _DyingPostgresql(make_url(url))


if __name__ == "__main__":
    vars(relay)["open_database"] = _open
    lifecycle.run(relay.main)
