"""relay.v1 over a real gRPC channel: the submission stream, and the calls with which operators see and change the
queue.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc

from services.relay.configuration.model import Alias, Configuration
from services.relay.queue import reading
from tests.relay.scripted_transport import ScriptedTransport, deferred, delivered, failed
from tests.relay.whole_relay import CONTENT, WholeRelay

ALIASES = {b"all@local.test": Alias("a1", b"all@local.test", (b"x@one.test", b"y@two.test"))}
LATER = {b"later@one.test": [deferred], b"later@two.test": [deferred], b"no@one.test": [failed]}


@pytest.fixture
async def relay(database_url: str, tmp_path: Path) -> AsyncIterator[WholeRelay]:
    transport = ScriptedTransport({key: list(value) for key, value in LATER.items()})
    async with WholeRelay(database_url, tmp_path, Configuration(3, "gw.test", aliases=ALIASES), transport) as whole:
        yield whole


@pytest.fixture
async def stub(relay: WholeRelay) -> AsyncIterator[relay_pb2_grpc.RelayAsyncStub]:
    async with relay.channel() as channel:
        yield relay_pb2_grpc.RelayStub(channel)


def submission(*recipients: bytes, content: bytes = CONTENT, inline: bool = True) -> pb.Submission:
    return pb.Submission(
        id=uuid.uuid4().hex,
        envelope=pb.Envelope(
            sender=b"a@sender.test", recipients=[pb.Recipient(address=recipient) for recipient in recipients]
        ),
        origin=pb.Origin(
            session_id="s1",
            client_address="192.0.2.9",
            helo_name=b"client.test",
            account_login="anna",
            listener="smtp",
            may_relay=True,
        ),
        content_size=len(content),
        content=content if inline else b"",
    )


async def send(stub: relay_pb2_grpc.RelayAsyncStub, *frames: pb.SubmitFrame) -> dict[str, pb.SubmitAck]:
    """Sends these frames and reads until the stream ends. Returns the acknowledgements by submission id."""

    async def requests() -> AsyncIterator[pb.SubmitFrame]:
        for frame in frames:
            yield frame

    acks: dict[str, pb.SubmitAck] = {}
    async for answer in stub.Submit(requests()):
        acks.update({ack.submission_id: ack for ack in answer.acks})
    return acks


async def put(stub: relay_pb2_grpc.RelayAsyncStub, *recipients: bytes) -> str:
    one = submission(*recipients)
    return (await send(stub, pb.SubmitFrame(submissions=[one])))[one.id].queue_id


async def act(stub: relay_pb2_grpc.RelayAsyncStub, request: pb.ActOnMessagesRequest) -> pb.ActOnMessagesProgress:
    last = pb.ActOnMessagesProgress()
    async for progress in stub.ActOnMessages(request):
        last = progress
    assert last.done
    return last


# The submission stream


async def test_the_first_frame_has_the_state_of_the_storage(stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    call = stub.Submit()
    first = await call.read()
    assert isinstance(first, pb.SubmitAckFrame)
    assert first.storage.accepting
    assert first.storage.available > 0
    call.cancel()


async def test_content_is_joined_although_chunks_of_another_message_are_between(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    contents = [b"Subject: %d\r\n\r\n" % number + bytes([65 + number]) * 300_000 + b"\r\n" for number in range(2)]
    first, second = (submission(b"u@one.test", content=content, inline=False) for content in contents)
    frames = [pb.SubmitFrame(submissions=[first, second])]
    for start in range(0, 300_100, 100_000):
        chunks = [
            pb.SubmissionChunk(submission_id=one.id, data=content[start : start + 100_000])
            for one, content in zip((first, second), contents, strict=True)
        ]
        frames.append(pb.SubmitFrame(chunks=chunks))
    frames.append(
        pb.SubmitFrame(chunks=[pb.SubmissionChunk(submission_id=one.id, last=True) for one in (first, second)])
    )
    acks = await send(stub, *frames)
    assert {ack.result for ack in acks.values()} == {pb.SubmitAck.RESULT_STORED}
    await relay.settled(2)
    assert sorted(each.content for each in relay.transport.ended) == sorted(contents)


async def test_a_stream_that_ends_before_the_last_chunk_leaves_nothing(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    one = submission(b"u@one.test", inline=False)
    half = pb.SubmissionChunk(submission_id=one.id, data=CONTENT[:10])
    assert await send(stub, pb.SubmitFrame(submissions=[one]), pb.SubmitFrame(chunks=[half])) == {}
    assert relay.relay.intake._octets == 0
    assert await relay.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_an_abandoned_submission_is_not_acknowledged_and_others_go_on(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    gone, kept = submission(b"u@one.test", inline=False), submission(b"v@one.test")
    chunk = pb.SubmissionChunk(submission_id=gone.id, data=CONTENT[:10])
    late = pb.SubmissionChunk(submission_id=gone.id, data=CONTENT[10:], last=True)
    acks = await send(
        stub,
        pb.SubmitFrame(submissions=[gone, kept], chunks=[chunk]),
        pb.SubmitFrame(abandoned_submission_ids=[gone.id]),
        pb.SubmitFrame(chunks=[late]),
    )
    assert acks.keys() == {kept.id}


CONTRADICTIONS: list[tuple[dict[str, object], list[bytes]]] = [
    ({"content_size": 5}, []),
    ({"content_size": 500}, []),
    ({"id": ""}, []),
    ({"id": "x" * 65}, []),
    ({"content": b"", "content_size": 10}, [b"x" * 11]),
    ({"content": b"", "content_size": 10}, [b"x" * 9]),
]


async def test_a_contradictory_submission_is_invalid_and_leaves_nothing(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    for change, contents in CONTRADICTIONS:
        one = submission(b"u@one.test")
        for name, value in change.items():
            setattr(one, name, value)
        chunks = [pb.SubmissionChunk(submission_id=one.id, data=data, last=True) for data in contents]
        acks = await send(stub, pb.SubmitFrame(submissions=[one], chunks=chunks))
        assert acks[one.id].result == pb.SubmitAck.RESULT_INVALID, change
    assert await relay.rows("SELECT count(*) FROM messages") == [(0,)]
    assert relay.relay.intake._octets == 0


async def test_a_submission_without_a_recipient_is_invalid(stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    one = submission()
    assert (await send(stub, pb.SubmitFrame(submissions=[one])))[one.id].result == pb.SubmitAck.RESULT_INVALID


async def test_refused_messages_are_in_the_history(relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    refused = pb.RefusedMessage(
        session_id="s7",
        client_address="192.0.2.7",
        sender=b"evil@far.test",
        recipients=[b"u@local.test", b"v@local.test"],
        code=554,
        enhanced_code="5.7.1",
        text="blocked\x00",
        reason_id="access_block",
        rule_id="r9",
        stage="RCPT",
        refused_at=Timestamp(seconds=1_800_000_000),
        listener="submission",
        tls=True,
    )
    no_recipient = pb.RefusedMessage(
        session_id="s8", code=421, stage="CONNECT", refused_at=Timestamp(seconds=1_700_000_000)
    )
    await send(stub, pb.SubmitFrame(refused=[refused, no_recipient]))
    await relay.committed()
    rejected = pb.MessageFilter(states=[pb.DELIVERY_STATE_REJECTED])
    found = (await stub.ListHistory(pb.ListHistoryRequest(filter=rejected))).messages
    assert [(each.stage, each.code, each.state) for each in found] == [
        ("RCPT", 554, pb.DELIVERY_STATE_REJECTED),
        ("CONNECT", 421, pb.DELIVERY_STATE_REJECTED),
    ]
    about = (await stub.ListHistory(pb.ListHistoryRequest(filter=pb.MessageFilter(recipient=b"v@local.test")))).messages
    (one,) = about
    assert (one.rule_id, one.reason_id, one.enhanced_code, one.text) == ("r9", "access_block", "5.7.1", "blocked\ufffd")
    assert [delivery.recipient for delivery in one.deliveries] == [b"u@local.test", b"v@local.test"]
    whole = await stub.GetMessage(pb.GetMessageRequest(queue_id=one.queue_id))
    assert [each.event for each in whole.timeline] == ["refused"]
    assert (whole.origin.listener, whole.origin.tls) == ("submission", True)


# What operators see in the queue


async def test_lists_go_in_pages_and_filters_must_all_match(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    ids = [await put(stub, b"later@one.test", b"u%d@one.test" % number) for number in range(7)]
    other = await put(stub, b"later@two.test")
    await relay.settled(8)
    seen: list[str] = []
    token = ""
    while True:
        page = await stub.ListMessages(pb.ListMessagesRequest(page_size=3, page_token=token))
        assert len(page.messages) <= 3
        seen += [message.queue_id for message in page.messages]
        token = page.next_page_token
        if not token:
            break
    assert seen == [*ids, other]

    async def found(**fields: object) -> list[str]:
        wanted = pb.MessageFilter(**fields)  # type: ignore[arg-type]
        return [
            message.queue_id for message in (await stub.ListMessages(pb.ListMessagesRequest(filter=wanted))).messages
        ]

    assert await found(recipient_domain="two.test") == [other]
    assert await found(recipient=b"later@two.test", sender=b"a@sender.test") == [other]
    assert await found(recipient=b"later@two.test", sender=b"b@sender.test") == []
    assert await found(sender_domain="sender.test", destination="domain:two.test") == [other]
    assert await found(last_reply_contains="LATER") == [*ids, other]
    assert await found(last_reply_contains="l_ter") == []
    assert await found(account_login="anna", client_address="192.0.2.9", session_id="s1") == [*ids, other]
    assert await found(attempts_at_least=1, states=[pb.DELIVERY_STATE_DEFERRED]) == [*ids, other]
    assert await found(states=[pb.DELIVERY_STATE_HELD]) == []
    assert await found(states=[pb.DELIVERY_STATE_UNSPECIFIED]) == []
    assert await found(states=[pb.DELIVERY_STATE_UNSPECIFIED, pb.DELIVERY_STATE_DEFERRED]) == [*ids, other]
    # The filters for recipient and state must match the same delivery.
    assert await found(recipient=b"u1@one.test", states=[pb.DELIVERY_STATE_DEFERRED]) == []
    assert await found(recipient=b"u1@one.test", states=[pb.DELIVERY_STATE_DELIVERED]) == [ids[1]]
    assert await found(received_after=Timestamp(seconds=4_000_000_000)) == []
    assert await found(received_before=Timestamp(seconds=4_000_000_000)) == [*ids, other]
    # `received_after` includes the moment itself; `received_before` does not.
    moment = (await stub.GetMessage(pb.GetMessageRequest(queue_id=other))).received_at
    assert other in await found(received_after=moment)
    assert other not in await found(received_before=moment)


async def test_an_invalid_page_token_is_refused(stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    for token in ("x", "1", "-1-2", "1-", "99999999999999999999-1", "1-2-3"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListMessages(pb.ListMessagesRequest(page_token=token))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, token


async def test_one_message_is_shown_with_attempts_and_timeline(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    relay.transport.answers[b"x@one.test"] = [deferred, delivered]
    one = submission(b"all@local.test")
    queue_id = (await send(stub, pb.SubmitFrame(submissions=[one])))[one.id].queue_id
    await relay.settled(2)
    await relay.after(400)
    await relay.settled(3)
    whole = await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id, include_header=True))
    assert whole.submission_id == one.id
    assert whole.state == pb.DELIVERY_STATE_DELIVERED
    assert whole.delivery_count == 3
    alias, x, y = whole.deliveries
    assert (alias.state, alias.recipient) == (pb.DELIVERY_STATE_EXPANDED, b"all@local.test")
    assert (x.recipient, x.original_recipient, x.attempts) == (b"x@one.test", b"all@local.test", 2)
    assert [(each.result, each.code, each.host) for each in x.history] == [
        ("deferred", 451, "mx.test"),
        ("delivered", 250, "mx.test"),
    ]
    assert [each.result for each in y.history] == ["delivered"]
    assert x.last_attempt.result == "delivered"
    assert [each.event for each in whole.timeline if each.recipient != b"y@two.test"] == [
        "stored",
        "expanded",
        "deferred",
        "delivered",
    ]
    assert whole.origin.account_login == "anna"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _content(stub, queue_id)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_header_and_content_of_a_waiting_message_are_returned(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    large = b"Subject: large\r\n\r\n" + b"z" * 700_000 + b"\r\n"
    one = submission(b"later@one.test", content=large)
    queue_id = (await send(stub, pb.SubmitFrame(submissions=[one])))[one.id].queue_id
    await relay.settled(1)
    assert await _content(stub, queue_id) == large
    whole = await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id, include_header=True))
    assert whole.header == b"Subject: large\r\n"
    assert (await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id))).header == b""


async def test_an_unknown_message_is_not_found(stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    for queue_id in ("", "zz", "FFFF", "-1", "٣", "1" * 40):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND, queue_id


async def _content(stub: relay_pb2_grpc.RelayAsyncStub, queue_id: str) -> bytes:
    chunks = [each.data async for each in stub.GetMessageContent(pb.GetMessageContentRequest(queue_id=queue_id))]
    return b"".join(chunks)


# What operators do with the queue


async def test_each_action_works_on_one_message(relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    queue_id = await put(stub, b"later@one.test")
    await relay.settled(1)

    async def do(action: pb.QueueAction.ValueType) -> tuple[int, int]:
        done = await act(stub, pb.ActOnMessagesRequest(action=action, queue_id=queue_id, actor="anna"))
        return done.acted, done.skipped

    async def state() -> int:
        return (await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id))).state

    assert await do(pb.QUEUE_ACTION_RELEASE) == (0, 1)
    assert await do(pb.QUEUE_ACTION_HOLD) == (1, 0)
    assert await state() == pb.DELIVERY_STATE_HELD
    assert await do(pb.QUEUE_ACTION_RETRY) == (0, 1)
    assert await do(pb.QUEUE_ACTION_RELEASE) == (1, 0)
    await relay.settled(2)
    assert await do(pb.QUEUE_ACTION_RETRY) == (1, 0)
    await relay.settled(3)
    assert await do(pb.QUEUE_ACTION_BOUNCE) == (1, 0)
    await relay.settled(4)
    assert await state() == pb.DELIVERY_STATE_BOUNCED
    report = relay.transport.to(b"a@sender.test")[0].content
    assert b"Final-Recipient: rfc822; later@one.test" in report
    assert b"returned by the administrator" in report
    assert await do(pb.QUEUE_ACTION_DELETE) == (0, 0)
    timeline = (await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id))).timeline
    done = [(each.event, each.actor) for each in timeline if each.actor]
    assert done == [("held", "anna"), ("released", "anna"), ("retried", "anna"), ("bounced", "anna")]


async def test_an_action_on_many_messages_changes_only_those_that_match(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    ids = [await put(stub, b"later@one.test", b"later@two.test") for _ in range(5)]
    await relay.settled(10)
    one = pb.MessageFilter(recipient_domain="one.test")
    request = pb.ActOnMessagesRequest(action=pb.QUEUE_ACTION_DELETE, filter=one, dry_run=True, actor="anna")
    counted = await act(stub, request)
    assert (counted.matched, counted.acted, counted.skipped) == (5, 0, 0)
    assert await relay.rows("SELECT count(*) FROM deliveries WHERE state = 1") == [(10,)]
    request.dry_run = False
    done = await act(stub, request)
    assert (done.matched, done.acted, done.skipped) == (5, 5, 0)
    rows = await relay.rows(
        "SELECT recipient_domain, state FROM deliveries GROUP BY recipient_domain, state ORDER BY 1"
    )
    assert rows == [("one.test", 7), ("two.test", 1)]
    await act(stub, pb.ActOnMessagesRequest(action=pb.QUEUE_ACTION_DELETE, filter=pb.MessageFilter(), actor="anna"))
    assert (await stub.ListMessages(pb.ListMessagesRequest())).messages == []
    assert len((await stub.ListHistory(pb.ListHistoryRequest())).messages) == len(ids)
    assert await relay.rows("SELECT count(*) FROM contents") == [(0,)]


async def test_an_action_looks_through_the_queue_in_steps(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LOOKED_THROUGH", 2)
    for recipient in (b"later@two.test", b"later@two.test", b"later@two.test", b"later@one.test", b"later@two.test"):
        await put(stub, recipient)
    await relay.settled(5)
    request = pb.ActOnMessagesRequest(
        action=pb.QUEUE_ACTION_HOLD, filter=pb.MessageFilter(recipient_domain="one.test"), actor="anna"
    )
    steps = [(step.matched, step.acted, step.done) async for step in stub.ActOnMessages(request)]
    assert len(steps) > 1
    assert steps[-1] == (1, 1, True)
    assert not any(done for _, _, done in steps[:-1])


async def test_deliveries_that_are_being_tried_are_not_changed(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    gate = asyncio.Event()
    relay.transport.gates[b"slow@one.test"] = gate
    queue_id = await put(stub, b"slow@one.test")
    await relay.transport.until_begun(1)
    request = pb.ActOnMessagesRequest(action=pb.QUEUE_ACTION_DELETE, queue_id=queue_id, actor="anna")
    done = await act(stub, request)
    assert (done.matched, done.acted, done.skipped) == (1, 0, 1)
    gate.set()
    await relay.settled(1)
    whole = await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id))
    assert whole.state == pb.DELIVERY_STATE_DELIVERED


async def test_destinations_have_counts_and_can_be_suspended_and_resumed(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    held = await put(stub, b"later@one.test")
    await put(stub, b"later@one.test")
    await put(stub, b"later@two.test")
    await relay.settled(3)
    await act(stub, pb.ActOnMessagesRequest(action=pb.QUEUE_ACTION_HOLD, queue_id=held))
    listed = (await stub.ListDestinations(pb.ListDestinationsRequest())).destinations
    assert [(each.name, each.queued, each.active, each.deferred, each.held) for each in listed] == [
        ("domain:one.test", 2, 0, 1, 1),
        ("domain:two.test", 1, 0, 1, 0),
    ]
    assert [each.last_error for each in listed] == ["451 4.3.0 later"] * 2, "also after the first attempt"
    [(stored_at,)] = await relay.rows("SELECT stored_at FROM messages ORDER BY id LIMIT 1")
    assert listed[0].oldest_at.ToMicroseconds() == stored_at
    assert listed[0].next_due_at.seconds > listed[0].oldest_at.seconds
    first = await stub.ListDestinations(pb.ListDestinationsRequest(page_size=1))
    second = await stub.ListDestinations(pb.ListDestinationsRequest(page_size=1, page_token=first.next_page_token))
    assert [each.name for each in (*first.destinations, *second.destinations)] == ["domain:one.test", "domain:two.test"]
    suspended = await stub.SuspendDestination(pb.SuspendDestinationRequest(name="domain:one.test", actor="anna"))
    assert (suspended.suspended, suspended.suspended_by) == (True, "anna")
    assert not suspended.HasField("suspended_until")
    queue_id = await put(stub, b"fresh@one.test")
    await relay.after(400)
    await relay.transport.until(lambda: len(relay.transport.to(b"later@two.test")) == 2)
    assert relay.transport.to(b"fresh@one.test") == []
    await stub.ResumeDestination(pb.ResumeDestinationRequest(name="domain:one.test", actor="anna"))
    await relay.transport.until(lambda: len(relay.transport.to(b"fresh@one.test")) == 1)
    await relay.committed()
    for name, code in (
        ("domain:one.test", grpc.StatusCode.FAILED_PRECONDITION),
        ("domain:never.test", grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ResumeDestination(pb.ResumeDestinationRequest(name=name, actor="anna"))
        assert caught.value.code() == code
    whole = await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id))
    assert whole.state == pb.DELIVERY_STATE_DELIVERED


async def test_f65_due_mail_of_a_dead_destination_is_shown_as_deferred(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    """F65: a due delivery to a dead destination was shown as active, and as overdue."""
    relay.transport.capacities["domain:dead.test"] = 0
    relay.transport.probes["domain:dead.test"] = 20.0
    await put(stub, b"u@dead.test")
    await relay.given_back(1)
    before = relay.clock.now()
    (listed,) = (await stub.ListDestinations(pb.ListDestinationsRequest())).destinations
    assert (listed.name, listed.active, listed.deferred) == ("domain:dead.test", 0, 1)
    assert before + 20_000_000 <= listed.next_due_at.ToMicroseconds() <= relay.clock.now() + 20_000_000


async def test_a_suspension_with_an_end_ends_at_that_time(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    until = Timestamp(seconds=relay.clock.now() // 1_000_000 + 600)
    await stub.SuspendDestination(pb.SuspendDestinationRequest(name="domain:one.test", until=until, actor="anna"))
    await put(stub, b"u@one.test")
    await relay.after(601)
    await relay.settled(1)
    past = Timestamp(seconds=1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.SuspendDestination(pb.SuspendDestinationRequest(name="domain:one.test", until=past))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ResumeDestination(pb.ResumeDestinationRequest(name="domain:never.test"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_routes_are_explained_after_aliases(stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    answer = await stub.ResolveRoute(pb.ResolveRouteRequest(sender=b"a@sender.test", recipient=b"all@local.test"))
    assert answer.snapshot_revision == 3
    assert [route.recipient for route in answer.routes] == [b"x@one.test", b"y@two.test"]
    assert (answer.routes[0].rules[0].kind, answer.routes[0].rules[0].rule_id) == ("alias", "a1")


async def test_an_unknown_relay_host_is_not_found(stub: relay_pb2_grpc.RelayAsyncStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.TestRelayHost(pb.TestRelayHostRequest(rule_id="delivery")):
            pass
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
