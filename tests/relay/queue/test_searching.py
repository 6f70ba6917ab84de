"""One list shows queued, finished and refused messages. It is searched by Message-ID, addresses, verdicts and time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc
from sqlalchemy import Connection

from services.relay.configuration.model import Configuration, QueueSettings
from services.relay.intake.submission import Frame, Refusal
from services.relay.model.message import NewDelivery, NewMessage, Origin, SessionVerdict
from services.relay.model.states import Kind, State
from services.relay.queue import reading
from services.relay.queue.storing import store
from tests.relay.scripted_transport import ScriptedTransport, deferred, delivered
from tests.relay.whole_relay import CONTENT, WholeRelay

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
SHADOW = SessionVerdict(5 * _SECOND, "CONNECT", "accept", shadow=(("dnsbl_listed", "zone-1"),))
DENIED = SessionVerdict(6 * _SECOND, "RCPT", "reject", 554, "5.7.1", "access_rule", "rule-7")
KEPT_SUBJECTS = Configuration(3, "gw.test", queue=QueueSettings(keep_subjects=True))


@pytest.fixture
async def relay(database_url: str, tmp_path: Path) -> AsyncIterator[WholeRelay]:
    transport = ScriptedTransport({b"later@one.test": [deferred, delivered]})
    async with WholeRelay(database_url, tmp_path, KEPT_SUBJECTS, transport) as whole:
        yield whole


@pytest.fixture
async def stub(relay: WholeRelay) -> AsyncIterator[relay_pb2_grpc.RelayAsyncStub]:
    async with relay.channel() as channel:
        yield relay_pb2_grpc.RelayStub(channel)


def content(message_id: str, subject: str = "hello") -> bytes:
    return CONTENT.replace(b"<1@sender.test>", f"<{message_id}>".encode()).replace(b"hello", subject.encode())


def refusal(message_id: str = "", verdicts: tuple[SessionVerdict, ...] = (), reason_id: str = "too_big") -> Refusal:
    origin = Origin("s9", "192.0.2.9", b"client.test", "", "smtp")
    return Refusal(
        origin,
        b"Spam@Sender.test",
        (b"Victim@one.test",),
        554,
        "5.7.1",
        "no",
        reason_id,
        "rule-9",
        "END_OF_DATA",
        0,
        discarded=False,
        message_id=message_id,
        verdicts=verdicts,
    )


async def search(stub: relay_pb2_grpc.RelayAsyncStub, page_size: int = 0, **filters: Any) -> list[pb.Message]:
    """Returns the messages of all pages together."""
    found: list[pb.Message] = []
    token = ""
    while True:
        request = pb.ListHistoryRequest(filter=pb.MessageFilter(**filters), page_size=page_size, page_token=token)
        page = await stub.ListHistory(request, wait_for_ready=True)
        found += page.messages
        token = page.next_page_token
        if not token:
            return found


async def test_queued_finished_and_refused_messages_are_found_by_message_id(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    finished = await relay.submit(b"u@one.test", content=content("same@a.test"))
    queued = await relay.submit(b"later@one.test", content=content("same@a.test"))
    await relay.submit(b"u@one.test", content=content("other@a.test"))
    await relay.settled(3)
    relay.stream.feed(Frame((), (), (), (refusal("same@a.test"),)))
    await relay.committed()
    for asked in (b"same@a.test", b"<same@a.test>"):
        found = await search(stub, message_id=asked)
        assert {message.state for message in found} == {
            pb.DELIVERY_STATE_DELIVERED,
            pb.DELIVERY_STATE_DEFERRED,
            pb.DELIVERY_STATE_REJECTED,
        }
        assert {finished.queue_id, queued.queue_id} < {message.queue_id for message in found}
        assert {message.message_id for message in found} == {b"same@a.test"}
    assert await search(stub, message_id=b"Same@a.test") == []
    assert len(await search(stub)) == 4


async def test_newer_messages_come_first_across_pages(relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    queue_ids = []
    for number in range(7):
        ack = await relay.submit(b"u@one.test" if number % 2 else b"later@one.test", content=content("a@a.test"))
        queue_ids.append(ack.queue_id)
        relay.clock.pass_time(3000)
    everything: dict[str, Any] = {}
    for filters in (everything, {"message_id": b"a@a.test"}, {"address_contains": "ONE.test"}):
        found = await search(stub, 2, **filters)
        assert [message.queue_id for message in found] == queue_ids[::-1], filters


async def test_the_index_answers_a_search_by_message_id_in_every_group_of_numbers(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    """An index key begins with a group of message numbers, so the search must look into every group with messages."""
    now = relay.clock.now()

    def fill(connection: Connection) -> None:
        store(connection, [_at(number, now - number * _HOUR) for number in range(1, 200)], 0, now)

    await relay.database.write(fill)
    assert [message.message_id for message in await search(stub, message_id=b"150@a.test")] == [b"150@a.test"]
    assert len(await search(stub, 10, message_id=b"150@a.test", recipient_domain="one.test")) == 1
    after, before = Timestamp(), Timestamp()
    after.FromMicroseconds(now - 100 * _HOUR)
    before.FromMicroseconds(now - 20 * _HOUR)
    assert await search(stub, message_id=b"150@a.test", received_after=after) == []
    assert await search(stub, message_id=b"10@a.test", received_before=before) == []
    assert len(await search(stub, message_id=b"50@a.test", received_after=after, received_before=before)) == 1
    assert len(await search(stub, received_after=after, received_before=before)) == 80


async def test_pages_of_one_message_id_are_in_order_of_arrival(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers that several relays give are not in the order of time."""
    monkeypatch.setattr(reading, "_KEYS_AT_ONCE", 3)
    now = relay.clock.now()
    hours = [3, 7, 1, 9, 5, 2, 8, 6, 4]

    def fill(connection: Connection) -> None:
        new = [_at(number, now - hour * _HOUR) for number, hour in enumerate(hours, 1)]
        store(connection, [replace(message, content=content("same@a.test")) for message in new], 0, now)

    await relay.database.write(fill)
    found = await search(stub, 2, message_id=b"same@a.test")
    assert [now - message.received_at.ToMicroseconds() for message in found] == [hour * _HOUR for hour in range(1, 10)]


def _at(number: int, received_at: int) -> NewMessage:
    """Makes a message whose number is far from that of any other message."""
    delivery = NewDelivery(10_000 * number + 1, b"u@one.test", State.QUEUED, "domain:one.test")
    return NewMessage(
        10_000 * number,
        Kind.MAIL,
        b"a@sender.test",
        content(f"{number}@a.test"),
        received_at,
        (delivery,),
        f"submission-{number}",
        unleased=frozenset(("domain:one.test",)),
    )


async def test_parts_of_addresses_subjects_and_ids_are_found(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    first = await relay.submit(
        b"Anna.Smith@one.test",
        "jürgen@one.test".encode(),
        content=content("1@a.test", "The 100% offer"),
        envelope_id=b"e+3D1",
    )
    await relay.submit(b"u@two.test", sender=b"\xff@sender.test", content=content("2@a.test", "Invoice"))
    await relay.settled(2)
    cases: tuple[tuple[dict[str, Any], int], ...] = (
        ({"address_contains": "na.SM"}, 1),
        ({"address_contains": "jürgen"}, 1),
        ({"address_contains": "@sender"}, 2),
        ({"address_contains": "n%a"}, 0),
        ({"address_contains": "_"}, 0),
        ({"subject_contains": "100% OFF"}, 1),
        ({"subject_contains": "100_"}, 0),
        ({"envelope_id": b"e+3D1"}, 1),
        ({"envelope_id": b"e"}, 0),
        ({"queue_id": first.queue_id}, 1),
        ({"queue_id": "none"}, 0),
        ({"session_id": "s1"}, 2),
        ({"recipient_domain": "two.test"}, 1),
    )
    for filters, number in cases:
        assert len(await search(stub, **filters)) == number, filters
    [shown] = await search(stub, queue_id=first.queue_id)
    assert (shown.subject, shown.envelope_id) == (b"The 100% offer", b"e+3D1")


async def test_an_action_by_part_of_an_address_changes_only_that_recipient(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    relay.transport.answers[b"anna@one.test"] = [deferred]
    ack = await relay.submit(b"anna@one.test", b"later@one.test")
    await relay.settled(1)
    for part, acted in (("ANNA@", 1), ("nobody", 0), ("sender.test", 1)):
        request = pb.ActOnMessagesRequest(
            action=pb.QUEUE_ACTION_HOLD, filter=pb.MessageFilter(address_contains=part), actor="ops"
        )
        last = pb.ActOnMessagesProgress()
        async for progress in stub.ActOnMessages(request, wait_for_ready=True):
            last = progress
        assert last.acted == acted, part
        if part == "ANNA@":
            assert await relay.states(ack.queue_id) == {
                b"anna@one.test": State.HELD,
                b"later@one.test": State.QUEUED,
            }


async def test_a_session_that_was_refused_without_a_recipient_is_found_by_its_sender(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    relay.stream.feed(Frame((), (), (), (replace(refusal(), recipients=()),)))
    await relay.committed()
    for filters, number in (
        ({"address_contains": "SPAM@"}, 1),
        ({"address_contains": "SPAM@", "states": [pb.DELIVERY_STATE_REJECTED]}, 1),
        ({"address_contains": "ham@"}, 0),
        ({"address_contains": "SPAM@", "states": [pb.DELIVERY_STATE_HELD]}, 0),
        ({"address_contains": "SPAM@", "recipient_domain": "one.test"}, 0),
    ):
        filters = dict[str, Any](filters)
        assert len(await search(stub, **filters)) == number, filters


async def test_subjects_are_not_stored_by_default(relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    relay.configure(Configuration(4, "gw.test"))
    await relay.submit(b"u@one.test", content=content("1@a.test", "secret"))
    await relay.settled(1)
    [shown] = await search(stub, message_id=b"1@a.test")
    assert shown.subject == b""
    assert await relay.rows("SELECT subject FROM messages") == [(None,)]


async def test_messages_are_found_by_the_verdicts_of_their_session(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    await relay.submit(b"u@one.test", content=content("1@a.test"), verdicts=(SHADOW, DENIED))
    await relay.submit(b"u@one.test", content=content("2@a.test"))
    await relay.settled(2)
    relay.stream.feed(Frame((), (), (), (refusal("3@a.test", (SHADOW,), "sender_rule"),)))
    await relay.committed()
    cases: tuple[tuple[dict[str, Any], set[bytes]], ...] = (
        ({"rule_id": "rule-7"}, {b"1@a.test"}),
        ({"rule_id": "rule-9"}, {b"3@a.test"}),
        ({"rule_id": "rule"}, set()),
        ({"reason_id": "access_rule"}, {b"1@a.test"}),
        ({"reason_id": "sender_rule"}, {b"3@a.test"}),
        ({"reason_id": "dnsbl_listed"}, set()),
        ({"shadow_reason_id": "dnsbl_listed"}, {b"1@a.test", b"3@a.test"}),
        ({"shadow_reason_id": "access_rule"}, set()),
        ({"shadow_rule_id": "zone-1"}, {b"1@a.test", b"3@a.test"}),
        ({"shadow_rule_id": "zone-1", "shadow_reason_id": "access_rule"}, set()),
        ({"shadow_rule_id": "rule-7"}, set()),
        ({"reason_id": '"}, {'}, set()),
    )
    for filters, ids in cases:
        assert {message.message_id for message in await search(stub, **filters)} == ids, filters


async def test_the_timeline_has_verdicts_queue_events_and_attempts(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    verdicts = (SHADOW, DENIED)
    ack = await relay.submit(b"later@one.test", content=content("1@a.test"), verdicts=verdicts)
    await relay.settled(1)
    now = relay.clock.now()
    shown = await stub.GetMessage(pb.GetMessageRequest(queue_id=ack.queue_id), wait_for_ready=True)
    assert [event.event for event in shown.timeline] == ["verdict", "verdict", "stored", "deferred"]
    first, second, _, attempted = shown.timeline
    assert (first.verdict.stage, first.verdict.action) == ("CONNECT", "accept")
    assert [(each.reason_id, each.rule_id) for each in first.verdict.shadow] == [("dnsbl_listed", "zone-1")]
    assert (second.verdict.code, second.verdict.reason_id, second.verdict.rule_id) == (554, "access_rule", "rule-7")
    assert attempted.attempt == shown.deliveries[0].history[0]
    assert attempted.attempt.code == 451
    assert shown.origin.session_id == "s1"
    # A message expires 120 hours after it was received, unless it was finished before.
    expires_at = shown.deliveries[0].expires_at.ToMicroseconds()
    assert now + 119 * _HOUR < expires_at <= now + 120 * _HOUR
    await relay.after(400)
    await relay.settled(2)
    shown = await stub.GetMessage(pb.GetMessageRequest(queue_id=ack.queue_id), wait_for_ready=True)
    assert [event.event for event in shown.timeline][-1] == "delivered"
    assert not shown.deliveries[0].HasField("expires_at")


async def test_message_ids_are_removed_with_their_messages(relay: WholeRelay) -> None:
    await relay.submit(b"u@one.test", content=content("1@a.test"), verdicts=(SHADOW,))
    await relay.settled(1)
    relay.clock.pass_time(8 * 86400)
    while await relay.relay.sweeper.retire():
        pass
    assert await relay.rows("SELECT message_id FROM messages") == []
