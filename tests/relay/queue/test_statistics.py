"""The numbers of messages and recipients, by time and by reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc

from services.relay.api.operator import Action
from services.relay.intake.submission import Frame
from services.relay.queue import statistics
from services.relay.queue.statistics import CountedEvent
from services.relay.routing.recipients import SubmittedRecipient
from tests.relay.queue.test_searching import SHADOW, refusal
from tests.relay.scheduler.test_expiry import HOUR, act, sweep
from tests.relay.scripted_transport import ScriptedTransport, deferred, failed
from tests.relay.whole_relay import WholeRelay

_SECOND = 1_000_000


@pytest.fixture
async def relay(database_url: str, tmp_path: Path) -> AsyncIterator[WholeRelay]:
    transport = ScriptedTransport({b"later@one.test": [deferred, deferred], b"no@one.test": [failed]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as whole:
        yield whole


async def ask(relay: WholeRelay, hours: float = 24, bucket_seconds: int = 86400) -> list[pb.StatisticsBucket]:
    after, before = Timestamp(), Timestamp()
    now = relay.clock.now()
    after.FromMicroseconds(now - int(hours * HOUR) * _SECOND)
    before.FromMicroseconds(now + _SECOND)
    async with relay.channel() as channel:
        response = await relay_pb2_grpc.RelayStub(channel).GetStatistics(
            pb.GetStatisticsRequest(after=after, before=before, bucket_seconds=bucket_seconds), wait_for_ready=True
        )
    return list(response.buckets)


def total(buckets: list[pb.StatisticsBucket], member: str) -> int:
    return sum(getattr(bucket, member) for bucket in buckets)


async def test_each_outcome_is_counted_once(relay: WholeRelay) -> None:
    await relay.submit(b"u@one.test", b"v@one.test", verdicts=(SHADOW, SHADOW))
    await relay.submit(b"later@one.test", sender=b"")
    await relay.submit(b"no@one.test", sender=b"")
    relay.stream.feed(Frame((), (), (), (refusal(), refusal(verdicts=(SHADOW,)), refusal(reason_id="relay_denied"))))
    await relay.settled(3)
    buckets = await ask(relay)
    assert total(buckets, "accepted") == 3
    assert total(buckets, "delivered") == 2
    assert total(buckets, "deferred") == 1
    assert total(buckets, "bounced") == 1
    refused = {each.reason_id: each.count for bucket in buckets for each in bucket.refused}
    assert refused == {"too_big": 2, "relay_denied": 1}
    # A message counts once, even if several of its verdicts have this reason.
    assert [(each.reason_id, each.rule_id, each.count) for bucket in buckets for each in bucket.shadow] == [
        ("dnsbl_listed", "zone-1", 2)
    ]
    assert total(await ask(relay), "accepted") == 3


async def test_expired_and_returned_mail_counts_as_bounced(relay: WholeRelay) -> None:
    # Neither message leads to a report, because a report would expire too.
    returned = await relay.submit(SubmittedRecipient(b"later@one.test", ("NEVER",)))
    held = await relay.submit(b"later@one.test", sender=b"")
    await relay.settled(2)
    await act(relay, Action.BOUNCE, returned.queue_id)
    # The message is held, so that relay makes no attempt before the message expires.
    await act(relay, Action.HOLD, held.queue_id)
    relay.clock.pass_time(130 * HOUR)
    await sweep(relay)
    assert total(await ask(relay, 200), "bounced") == 2


async def test_a_repeated_submission_counts_as_one_message(relay: WholeRelay) -> None:
    for _ in range(2):
        await relay.submit(b"u@one.test", submission_id="a" * 32)
    await relay.settled(1)
    assert total(await ask(relay), "accepted") == 1


async def test_refusals_without_a_record_are_counted_too(relay: WholeRelay) -> None:
    relay.stream.feed(Frame((), (), (), tuple(refusal() for _ in range(300))))
    await relay.committed()
    assert len(await relay.rows("SELECT id FROM messages")) < 300
    assert sum(each.count for bucket in await ask(relay) for each in bucket.refused) == 300


async def test_buckets_have_the_requested_width(relay: WholeRelay) -> None:
    for _ in range(4):
        await relay.submit(b"u@one.test")
        relay.clock.pass_time(HOUR / 2)
    await relay.settled(4)
    for width, least in ((300, 4), (3600, 2), (86400, 1)):
        buckets = await ask(relay, 6, width)
        assert total(buckets, "accepted") == 4
        assert least <= len(buckets) <= least + 1
        starts = [bucket.starts_at.seconds for bucket in buckets]
        assert starts == sorted(starts)
        assert all(start % width == 0 for start in starts)


@pytest.mark.parametrize(("hours", "width"), [(24, 7), (-1, 3600), (24 * 365, 300)])
async def test_an_invalid_period_is_refused(relay: WholeRelay, hours: float, width: int) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(relay, hours, width)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_statistics_are_removed_after_the_retention(relay: WholeRelay) -> None:
    await relay.submit(b"u@one.test")
    await relay.settled(1)
    await relay.relay.statistics.write()
    relay.clock.pass_time(6 * 24 * HOUR)
    await relay.relay.sweeper.retire()
    assert total(await ask(relay, 24 * 7), "delivered") == 1
    relay.clock.pass_time(25 * HOUR)
    await relay.relay.sweeper.retire()
    assert await relay.rows("SELECT count FROM statistics") == []


async def test_reasons_over_the_limit_are_counted_as_one(relay: WholeRelay) -> None:
    for number in range(1_200):
        relay.relay.statistics.count(CountedEvent.REFUSED, 1, f"reason {number}")
    relay.relay.statistics.count(CountedEvent.REFUSED, 1, "reason 1")
    [(other,)] = [
        tuple(each.count for bucket in await ask(relay) for each in bucket.refused if each.reason_id == "other")
    ]
    assert other == 200
    assert len(await relay.rows("SELECT reason_id FROM statistics")) == 1_001


async def test_replicas_add_to_the_same_counts(relay: WholeRelay) -> None:
    other = statistics.Statistics(relay.database, relay.clock)
    for replica in (relay.relay.statistics, other):
        replica.count(CountedEvent.ACCEPTED, 2)
        await replica.write()
    assert total(await ask(relay), "accepted") == 4
