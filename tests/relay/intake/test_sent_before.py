"""A submission that was sent before may be stored already. It is then not refused."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from services.relay.intake.intake import Result
from services.relay.intake.submission import Frame
from services.relay.queue.database import UnavailableError, Work
from tests.relay.whole_relay import WholeRelay, incoming_of


async def test_a_stored_submission_is_acknowledged_although_no_mail_is_accepted_now(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission_id = uuid.uuid4().hex
    async with WholeRelay(database_url, tmp_path) as before:
        stored = await before.submit(b"u@one.test", submission_id=submission_id)
        assert stored.result is Result.STORED
    async with WholeRelay(database_url, tmp_path) as relay:
        monkeypatch.setattr(relay.relay.watch, "current", None)
        again = await relay.submit(b"u@one.test", submission_id=submission_id, sent_before=True)
        assert (again.result, again.queue_id) == (Result.STORED, stored.queue_id)
        unknown = await relay.submit(b"u@one.test", sent_before=True)
        assert (unknown.result, unknown.reason) == (Result.TEMPORARY_FAILURE, "no configuration yet")
        assert await relay.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_a_submission_that_waits_for_its_commit_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with WholeRelay(f"sqlite:///{tmp_path / 'queue.sqlite3'}", tmp_path) as relay:
        write = relay.database.write
        tries: list[object] = []

        async def write_later(work: Work[Any]) -> Any:
            tries.append(work)
            if len(tries) == 1:
                raise UnavailableError("the database is locked")
            return await write(work)

        monkeypatch.setattr(relay.database, "write", write_later)
        incoming = incoming_of([b"u@one.test"])
        relay.stream.feed(Frame((incoming,), (), (), ()))
        # The stream breaks, and relay has no configuration for the second try.
        monkeypatch.setattr(relay.relay.watch, "current", None)
        again = incoming_of([b"u@one.test"], submission_id=incoming.id, sent_before=True)
        relay.stream.feed(Frame((again,), (), (), ()))
        acks = await relay.acks(2)
        assert len(tries) > 2
        assert [ack.result for ack in acks] == [Result.STORED] * 2
        assert acks[0].queue_id == acks[1].queue_id
