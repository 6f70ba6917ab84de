"""Relay is killed with SIGKILL at each point of a message's way, or ended with SIGTERM. Acknowledged mail arrives
nevertheless, and possible duplicates are marked.
"""

from __future__ import annotations

import asyncio
import re
import signal as signals
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from posthouse.relay.v1 import relay_pb2 as pb

from tests.peers.postgres import Postgres
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.relay.contradictions import contradictions
from tests.relay.dying_relay import Point
from tests.relay.relay_process import RelayProcess, history, submission, submit, until_empty

pytestmark = pytest.mark.timeout(300)

REFUSED = b"no@one.test"


def numbers(sink: SmtpSink) -> Counter[int]:
    found = (re.search(rb"X-Number: (\d+)\r\n", message.content) for message in sink.messages if message.sender)
    return Counter(int(match[1]) for match in found if match)


def reports(sink: SmtpSink) -> Counter[str]:
    """Returns how many reports arrived about each message, by queue id."""
    found = (
        re.search(rb"X-Posthouse-Queue-Id: (\w+)\r\n", message.content)
        for message in sink.messages
        if not message.sender
    )
    return Counter(match[1].decode() for match in found if match)


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.RCPT, Stage.END_OF_DATA])
async def test_relay_is_killed_during_a_delivery(tmp_path: Path, smtp_sink: SmtpSink, stage: Stage) -> None:
    gate = smtp_sink.hold(stage)
    relay = RelayProcess(tmp_path, f"sqlite:///{tmp_path / 'queue.sqlite3'}", smtp_sink.port)
    await relay.start()
    stored = await submit(relay, [submission(number, b"u@one.test") for number in range(30)])
    assert len(stored) == 30
    await gate.reached()
    relay.kill()
    gate.open()
    await relay.start()
    await until_empty(relay)
    found = await history(relay)
    assert found.keys() == set(stored.values())
    arrived = numbers(smtp_sink)
    assert arrived.keys() == set(range(30))
    marked = sum(message.deliveries[0].possible_duplicate for message in found.values())
    assert sum(count - 1 for count in arrived.values()) <= marked
    if stage is not Stage.END_OF_DATA:
        assert max(arrived.values()) == 1
    assert relay.terminate() == 0


async def test_relay_is_terminated_during_a_delivery(tmp_path: Path, smtp_sink: SmtpSink) -> None:
    gate = smtp_sink.hold(Stage.END_OF_DATA)
    relay = RelayProcess(tmp_path, f"sqlite:///{tmp_path / 'queue.sqlite3'}", smtp_sink.port)
    await relay.start()
    stored = await submit(relay, [submission(number, b"u@one.test") for number in range(30)])
    await gate.reached()
    ending = asyncio.create_task(asyncio.to_thread(relay.terminate))
    gate.open()
    assert await ending == 0
    await relay.start()
    await until_empty(relay)
    found = await history(relay)
    assert found.keys() == set(stored.values())
    assert numbers(smtp_sink) == Counter(range(30))
    assert not any(message.deliveries[0].possible_duplicate for message in found.values())
    relay.kill()


@pytest.mark.parametrize("point", Point)
async def test_relay_is_killed_at_a_point_of_a_transaction(tmp_path: Path, smtp_sink: SmtpSink, point: Point) -> None:
    """On SQLite a relay starts on the same file after the kill."""
    path = tmp_path / "queue.sqlite3"
    dying = _dying(tmp_path, f"sqlite:///{path}", smtp_sink, point)
    successor = RelayProcess(tmp_path, f"sqlite:///{path}", smtp_sink.port)
    await dying.start()
    await _survives(dying, successor, smtp_sink, point, started=False)
    with closing(sqlite3.connect(path)) as connection:
        assert contradictions(lambda sql: int(connection.execute(sql).fetchone()[0])) == {}


@pytest.mark.parametrize("point", [Point.BEFORE_SETTLING_IS_COMMITTED, Point.BEFORE_THE_REPORT_IS_COMMITTED])
async def test_relay_is_terminated_at_a_point_of_a_transaction(
    tmp_path: Path, smtp_sink: SmtpSink, point: Point
) -> None:
    """C137: an outcome of a transaction that has begun is committed, and nothing is sent twice."""
    url = f"sqlite:///{tmp_path / 'queue.sqlite3'}"
    ending = _dying(tmp_path, url, smtp_sink, point, signals.SIGTERM)
    successor = RelayProcess(tmp_path, url, smtp_sink.port)
    await ending.start()
    twice = await _survives(ending, successor, smtp_sink, point, started=False, status=0)
    assert twice == 0


@pytest.mark.parametrize("point", Point)
async def test_another_relay_takes_over_from_a_killed_one(
    tmp_path: Path, smtp_sink: SmtpSink, postgres: Postgres, postgres_url: str, torture: bool, point: Point
) -> None:
    """On PostgreSQL another relay is running, and the killed one is not started again."""
    if point is not Point.BEFORE_SETTLING_IS_COMMITTED and not torture:
        pytest.skip("with the option --torture relay is killed at this point on PostgreSQL too")
    dying = _dying(tmp_path, postgres_url, smtp_sink, point)
    successor = RelayProcess(tmp_path, postgres_url, smtp_sink.port, "relay-2")
    await dying.start()
    await successor.start()
    await _survives(dying, successor, smtp_sink, point, started=True)
    name = postgres_url.rpartition("/")[2]
    assert contradictions(lambda sql: int(postgres.query(sql, name)), "relay.") == {}


def _dying(
    folder: Path, url: str, sink: SmtpSink, point: Point, signal: signals.Signals = signals.SIGKILL
) -> RelayProcess:
    sink.on(Stage.RCPT, reply("550 5.1.1 no such user"), address=REFUSED)
    if point is Point.CLAIMED:
        # New mail is leased when it is stored. Only mail that has waited is claimed, so the first attempt is deferred.
        sink.on(Stage.RCPT, reply("451 4.3.0 later"), address="u@one.test", times=4)
    return RelayProcess(folder, url, sink.port, "dying", ("tests.relay.dying_relay", point.name, signal.name))


async def _survives(
    dying: RelayProcess, successor: RelayProcess, sink: SmtpSink, point: Point, *, started: bool, status: int = -9
) -> int:
    """Checks that no mail is lost and that messages with extra copies are marked. Returns the number of extra ones."""
    load = [submission(number, REFUSED if number % 4 == 0 else b"u@one.test") for number in range(12)]
    acknowledged = await submit(dying, load)
    assert await dying.died() == status
    if not started:
        await successor.start()
    storing = point in (Point.BEFORE_STORING_IS_COMMITTED, Point.STORED_AND_NOT_ACKNOWLEDGED)
    assert not (acknowledged and storing)
    # The test submits again what was not acknowledged, with the same ids, as ingress does.
    acknowledged |= await submit(successor, [one for one in load if one.id not in acknowledged])
    assert len(set(acknowledged.values())) == len(load)
    await until_empty(successor)
    found = await history(successor)
    arrived, reported = numbers(sink), reports(sink)
    by_submission = {message.submission_id: message for message in found.values() if message.submission_id}
    assert len(found) == len(load) + len(reported), (
        "there is one report about each refused message, and each message is stored once"
    )
    twice = 0
    for number, one in enumerate(load):
        message = by_submission[one.id]
        assert message.queue_id == acknowledged[one.id]
        (delivery,) = message.deliveries
        if number % 4 == 0:
            assert delivery.state == pb.DELIVERY_STATE_BOUNCED
            assert reported[message.queue_id] >= 1
            continue
        assert delivery.state == pb.DELIVERY_STATE_DELIVERED
        assert arrived[number] == 1 or (arrived[number] > 1 and delivery.possible_duplicate)
        twice += arrived[number] - 1
    if point is Point.BEFORE_SETTLING_IS_COMMITTED and status:
        assert twice > 0, "the next hop had answered 250 before the kill, so copies are sent again"
    if storing or point is Point.CLAIMED:
        assert twice == 0
    assert successor.terminate() == 0
    return twice
