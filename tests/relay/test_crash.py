"""kill -9 of relay at chosen and at random moments: what was acknowledged arrives, what may be double is marked."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from posthouse.relay.v1 import relay_pb2 as pb

from tests.peers.postgres import Postgres
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.relay.relay_process import RelayProcess, history, submission, submit, until_empty

pytestmark = pytest.mark.timeout(300)


def numbers(sink: SmtpSink) -> Counter[int]:
    found = (re.search(rb"X-Number: (\d+)\r\n", one.content) for one in sink.messages)
    return Counter(int(match[1]) for match in found if match)


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.END_OF_DATA])
async def test_killed_in_a_transaction(tmp_path: Path, smtp_sink: SmtpSink, stage: Stage) -> None:
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
    if stage is Stage.RCPT:
        assert max(arrived.values()) == 1
    assert relay.terminate() == 0


async def test_terminated_with_a_transaction_under_way(tmp_path: Path, smtp_sink: SmtpSink) -> None:
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


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_killed_at_random(tmp_path: Path, smtp_sink: SmtpSink, request: pytest.FixtureRequest, kind: str) -> None:
    """Load goes on meanwhile; a third of it is refused by the next hop and must come back as one report each."""
    torture = bool(request.config.getoption("--torture"))
    rounds, messages = (60, 10_000) if torture else (2, 300)
    chance = random.Random(4)
    smtp_sink.on(Stage.RCPT, reply("550 5.1.1 no such user"), address="no@one.test")
    if kind == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.create_database()
        relays = [RelayProcess(tmp_path, url, smtp_sink.port, name) for name in ("relay", "relay-2")]
    else:
        url = f"sqlite:///{tmp_path / 'queue.sqlite3'}"
        relays = [RelayProcess(tmp_path, url, smtp_sink.port)]
    await asyncio.gather(*(relay.start() for relay in relays))
    load = [
        submission(number, b"no@one.test" if number % 3 == 0 else b"u%d@one.test" % (number % 5))
        for number in range(messages)
    ]
    waiting = {one.id: one for one in load}
    queue_ids: dict[str, str] = {}
    for number in range(rounds):
        victim = relays[number % len(relays)]
        part = list(waiting.values())[: messages // rounds + 1]
        sending = asyncio.create_task(submit(victim, part))
        await asyncio.sleep(chance.uniform(0.01, 0.4))
        victim.kill()
        acked = await sending
        queue_ids |= acked
        for submission_id in acked:
            del waiting[submission_id]
        await victim.start()
    # What was never acknowledged is handed over again under its id, as ingress does.
    acked = await submit(relays[0], list(waiting.values()))
    assert acked.keys() == waiting.keys()
    queue_ids |= acked
    await until_empty(relays[0])
    found = await history(relays[0])
    await _compare(load, queue_ids, found, smtp_sink)
    for relay in relays:
        assert relay.terminate() == 0


async def _compare(
    load: list[pb.Submission], queue_ids: dict[str, str], found: dict[str, pb.Message], sink: SmtpSink
) -> None:
    arrived = numbers(sink)
    duplicates = 0
    for number, one in enumerate(load):
        message = found[queue_ids[one.id]]
        (delivery,) = message.deliveries
        if number % 3 == 0:
            assert delivery.state == pb.DELIVERY_STATE_BOUNCED
            continue
        assert delivery.state == pb.DELIVERY_STATE_DELIVERED
        assert arrived[number] >= 1
        if arrived[number] > 1:
            duplicates += 1
            assert delivery.possible_duplicate
    by_submission = Counter(message.submission_id for message in found.values() if message.submission_id)
    assert max(by_submission.values()) == 1
    # One report each, in the same transaction as the failure that it reports.
    reports = [message for message in found.values() if not message.submission_id]
    assert len(reports) == sum(number % 3 == 0 for number in range(len(load)))
    print(f"{len(load)} messages, {duplicates} delivered twice, each marked")
