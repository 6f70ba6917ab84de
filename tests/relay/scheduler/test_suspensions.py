"""The reading of suspended destinations when the database does not answer."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, cast

import pytest
from structlog.testing import capture_logs

from services.relay.configuration.model import Configuration
from services.relay.queue.database import Database, UnavailableError, Work
from services.relay.scheduler import suspensions
from services.relay.scheduler.suspensions import Suspensions
from tests.relay.whole_relay import HandClock

T = TypeVar("T")


class Away:
    """A database whose first reads and writes fail. After that it returns no suspensions."""

    exclusive = True

    def __init__(self, questions: int) -> None:
        self._left = questions
        self.answered = asyncio.Event()

    async def read(self, work: Work[T]) -> Any:
        await asyncio.sleep(0)
        self._left -= 1
        if self._left >= 0:
            raise UnavailableError("away")
        if self._left < -10:
            self.answered.set()
        return {}

    write = read


@pytest.mark.parametrize("changed", [False, True], ids=["looking", "with a change to write down"])
async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    monkeypatch.setattr(suspensions, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(suspensions, "_RETRY_SECONDS", 0.0)
    database = Away(20)
    watched = Suspensions(cast("Database", database), HandClock())
    if changed:
        watched.configuration_changed(Configuration(1, "gw.test"))
    with capture_logs() as logs:
        task = asyncio.create_task(watched.run())
        async with asyncio.timeout(60):
            await database.answered.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("warning", "suspensions_unknown"),
        ("info", "suspensions_read"),
    ]
