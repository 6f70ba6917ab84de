"""Failures of policy, relay or the client: which reply the client gets, what is stored, and how service resumes (C33 to
C35, C92, C93).
"""

from __future__ import annotations

import asyncio

import pytest
from posthouse.policy.v1 import policy_pb2 as pb
from posthouse.relay.v1 import relay_pb2
from structlog.testing import capture_logs

from services.ingress.clients import policy_replica
from services.ingress.session import Listener
from tests.fakes.policy import FakePolicy, accept, profile, reject
from tests.fakes.relay import FakeRelay
from tests.ingress.client import Client, Reply
from tests.ingress.conftest import Ingress, Start
from tests.peers.ports import free_port


def temporary(reply: Reply) -> bool:
    return (reply.code, reply.enhanced) == (451, "4.3.0")


def no_greeting(reply: Reply) -> bool:
    """Returns whether the reply is a temporary refusal in place of the greeting (F55)."""
    return (reply.code, reply.enhanced) == (421, "4.3.0")


async def until_served(ingress: Ingress) -> Client:
    """Connects again and again until the greeting is 220, and returns this client."""
    async with asyncio.timeout(60):
        while True:
            client = await ingress.connect()
            if (await client.reply()).code == 220:
                assert (await client.command("EHLO client.example")).code == 250
                return client
            await asyncio.sleep(0.05)


async def test_f55_unreachable_policy_at_connect_gives_421_until_it_is_back(start: Start, policy: FakePolicy) -> None:
    await policy.stop()
    ingress = await start(connected=False)
    with capture_logs() as lines:
        for _ in range(3):
            client = await ingress.connect()
            # A greeting cannot have the code 451 (RFC 5321 section 4.2.3).
            assert no_greeting(await client.reply())
            assert await client.until_closed() == b""
    # Each refused client of an outage is counted, but only the first is logged.
    assert [line["stage"] for line in lines if line["event"] == "policy_unavailable"] == ["CONNECT"]
    assert ingress.metrics.policy_failures["CONNECT"] == 3
    await policy.start()
    assert (await (await until_served(ingress)).send_mail()).code == 250


@pytest.mark.parametrize(
    ("verdict", "codes"),
    [
        (reject(451, "4.3.0"), (421, "4.3.0")),
        (reject(550, "5.7.1"), (554, "5.7.1")),
        (reject(421, "4.7.0"), (421, "4.7.0")),
        (reject(554, "5.7.1"), (554, "5.7.1")),
    ],
)
async def test_f55_a_connection_is_refused_only_with_421_or_554(
    ingress: Ingress, verdict: pb.Verdict, codes: tuple[int, str]
) -> None:
    ingress.policy.on(pb.STAGE_CONNECT, verdict)
    client = await ingress.connect()
    greeting = await client.reply()
    assert (greeting.code, greeting.enhanced) == codes
    assert await client.until_closed() == b""


async def test_f55_a_message_that_needs_no_further_decision_is_accepted_without_policy(ingress: Ingress) -> None:
    """When policy has decided about the recipients of a message and is not asked at later stages, the message needs no
    further decision. A new recipient needs a decision.
    """
    client = await ingress.client()
    await client.envelope()
    await ingress.policy.stop()
    assert (await client.data(b"Subject: x\r\n\r\n")).code == 250
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    assert temporary(await client.command("RCPT TO:<b@example.com>"))


@pytest.mark.parametrize("stage", [pb.STAGE_MAIL, pb.STAGE_RCPT, pb.STAGE_DATA, pb.STAGE_END_OF_DATA])
async def test_c93_commands_get_451_until_policy_is_back(ingress: Ingress, stage: int) -> None:
    ingress.policy.profile.ask_stages.extend([pb.STAGE_MAIL, pb.STAGE_DATA, pb.STAGE_END_OF_DATA])
    commands = {
        pb.STAGE_MAIL: "MAIL FROM:<a@example.org>",
        pb.STAGE_RCPT: "RCPT TO:<b@example.com>",
        pb.STAGE_DATA: "DATA",
        pb.STAGE_END_OF_DATA: "Subject: x\r\n\r\nbody\r\n.",
    }
    client = await ingress.client()
    for at, command in commands.items():
        if at == stage:
            await ingress.policy.stop()
            assert temporary(await client.command(command))
            break
        assert (await client.command(command)).code in (250, 354)
    assert not ingress.relay.messages
    # The session goes on, and its next message is accepted when policy is back.
    await ingress.policy.start()
    await ingress.until_connected()
    assert (await client.command("RSET")).code == 250
    assert (await client.send_mail()).code == 250


async def test_a_restarted_policy_gets_all_open_sessions(ingress: Ingress) -> None:
    client = await ingress.client()
    session_id = ingress.policy.requests[0].session.id
    await ingress.policy.stop()
    await ingress.policy.start()
    await ingress.policy.until(lambda: ingress.policy.open_sessions == [set(), {session_id}])
    first, again = [frame for frame in ingress.policy.received if frame.worker]
    assert first.worker == again.worker
    assert again.open_sessions.sessions[0].client_address == "127.0.0.1"
    assert again.open_sessions.settled_before == again.counter
    await client.command("QUIT")
    await ingress.policy.until(lambda: session_id in ingress.policy.closed)


async def test_a_policy_that_asks_for_the_open_sessions_gets_all_of_them(ingress: Ingress) -> None:
    client = await ingress.client()
    ingress.policy.wants_sessions = True
    assert (await client.send_mail()).code == 250
    session_id = ingress.policy.requests[0].session.id
    await ingress.policy.until(lambda: ingress.policy.open_sessions == [set(), {session_id}])
    # The end of a session may reach policy before the set of open sessions. Policy must then remember that it ended.
    await client.command("QUIT")
    await ingress.policy.until(lambda: session_id in ingress.policy.closed)
    assert next(frame for frame in ingress.policy.received if frame.closed_sessions).remember_closed


async def test_a_set_of_open_sessions_does_not_contain_a_connection_without_a_verdict(ingress: Ingress) -> None:
    known = await ingress.client()
    ingress.policy.answering.clear()
    client = await ingress.connect()
    await ingress.policy.until(lambda: len(ingress.policy.asked(pb.STAGE_CONNECT)) == 2)
    asked_in = ingress.policy.received[-1].counter
    (replica,) = ingress.worker.policy._replicas
    replica.tell_sessions()
    async with asyncio.timeout(60):
        while replica._tells_sessions:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)
    ingress.policy.answering.set()
    assert (await client.reply()).code == 220
    await ingress.policy.until(lambda: len(ingress.policy.open_sessions) >= 2)
    told = next(frame for frame in ingress.policy.received[1:] if frame.HasField("open_sessions"))
    opened = ingress.policy.asked(pb.STAGE_CONNECT)[0].session.id
    assert {session.session_id for session in told.open_sessions.sessions} == {opened}
    assert told.open_sessions.settled_before == asked_in < told.counter
    known.close()


async def test_an_idle_worker_sends_heartbeats_and_no_other_frame(
    ingress: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await ingress.client()
    monkeypatch.setattr(policy_replica, "_HEARTBEAT_SECONDS", 0.05)
    before = ingress.policy.frames
    await ingress.policy.until(lambda: ingress.policy.frames >= before + 4)
    counters = [frame.counter for frame in ingress.policy.received]
    assert counters == sorted(set(counters))
    assert [
        frame
        for frame in ingress.policy.received[before:]
        if frame != pb.DecideFrame(counter=frame.counter, remember_closed=frame.remember_closed)
    ] == []
    client.close()


async def test_a_connection_whose_verdict_came_too_late_is_reported_as_closed(start: Start) -> None:
    ingress = await start(policy_seconds=0.4)
    ingress.policy.answering.clear()
    client = await ingress.connect()
    assert (await client.reply()).code == 421
    asked_in = next(frame.counter for frame in ingress.policy.received if frame.requests)
    ingress.policy.answering.set()
    # Policy did not answer, so ingress opened a new stream. Its set of open sessions does not contain this session.
    await ingress.policy.until(lambda: len(ingress.policy.open_sessions) == 2)
    told = ingress.policy.received[-1].open_sessions
    assert not told.sessions
    assert told.settled_before > asked_in


async def test_ended_sessions_are_reported_as_closed(ingress: Ingress) -> None:
    clients = [await ingress.client() for _ in range(3)]
    ids = [request.session.id for request in ingress.policy.asked(pb.STAGE_CONNECT)]
    await clients[0].command("QUIT")
    clients[1].close()
    clients[2].reset()
    await ingress.policy.until(lambda: sorted(ingress.policy.closed) == sorted(ids))


async def test_a_client_may_connect_again_at_once_after_it_closed(ingress: Ingress) -> None:
    for _ in range(5):
        client = await ingress.client()
        await client.command("QUIT")
        assert await client.until_closed() == b""
        await ingress.until_empty()
    connected: list[str] = []
    closed: set[str] = set()
    for frame in ingress.policy.received:
        # Policy reads the closed sessions of a frame before its requests.
        closed.update(session.session_id for session in frame.closed_sessions)
        for request in frame.requests:
            if request.stage == pb.STAGE_CONNECT:
                assert set(connected) <= closed
                connected.append(request.session.id)
    assert len(connected) == 5


async def test_c93_a_policy_that_does_not_answer_gives_451_at_the_deadline(start: Start) -> None:
    ingress = await start(policy_seconds=0.4)
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    ingress.policy.answering.clear()
    assert temporary(await client.command("RCPT TO:<b@example.com>"))
    ingress.policy.answering.set()
    await ingress.until_connected()
    async with asyncio.timeout(60):
        while (await client.command("RCPT TO:<b@example.com>")).code != 250:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
    assert ingress.metrics.policy_failures["RCPT"] >= 1


NONSENSE = [
    pb.Verdict(),
    pb.Verdict(action=99),  # type: ignore[arg-type]
    pb.Verdict(action=pb.ACTION_REJECT),
    reject(250, "2.0.0"),
    reject(200, "2.0.0"),
    reject(999, "9.9.9"),
    pb.Verdict(action=pb.ACTION_ACCEPT, delay={"seconds": -1}),  # type: ignore[arg-type]
    pb.Verdict(action=pb.ACTION_ACCEPT, delay={"seconds": 100_000}),  # type: ignore[arg-type]
    pb.Verdict(action=pb.ACTION_ACCEPT, profile=pb.SessionProfile(revision=9)),
]


@pytest.mark.parametrize("verdict", NONSENSE, ids=range(len(NONSENSE)))
async def test_c93_an_invalid_answer_of_policy_gives_451(ingress: Ingress, verdict: pb.Verdict) -> None:
    client = await ingress.client()
    ingress.policy.on(pb.STAGE_RCPT, verdict)
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    assert temporary(await client.command("RCPT TO:<b@example.com>"))
    assert (await client.command("DATA")).code == 554
    ingress.policy.on(pb.STAGE_CONNECT, verdict)
    if verdict.action != pb.ACTION_ACCEPT or verdict.HasField("profile"):
        assert no_greeting(await (await ingress.connect()).reply())


async def test_an_acceptance_without_a_profile_is_invalid_at_connect(ingress: Ingress) -> None:
    ingress.policy.profile = profile(hostname="")
    assert no_greeting(await (await ingress.connect()).reply())


async def test_a_policy_without_a_snapshot_gives_421(ingress: Ingress) -> None:
    ingress.policy.on(pb.STAGE_CONNECT, reject(421, "4.3.2", "No configuration yet", close=True))
    reply = await (await ingress.connect()).reply()
    assert (reply.code, reply.enhanced) == (421, "4.3.2")


async def test_an_unreachable_relay_gives_451_and_nothing_is_stored(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    await ingress.relay.stop()
    # A message that is handed over before ingress notices that relay is gone would wait for the next stream until its
    # deadline, because relay might have stored it.
    async with asyncio.timeout(60):
        while ingress.worker.relay.connected:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    assert temporary(await client.data(b"x: y\r\n\r\n"))
    # A moment later, MAIL is refused.
    async with asyncio.timeout(60):
        while (await client.command("MAIL FROM:<a@example.org>")).code == 250:
            await client.command("RSET")
            await asyncio.sleep(0.05)
    assert temporary(await client.command("MAIL FROM:<a@example.org>"))
    await ingress.relay.start()
    await ingress.until_connected()
    assert (await client.send_mail()).code == 250
    assert len(ingress.relay.messages) == 1


@pytest.mark.parametrize(
    ("result", "code", "enhanced"),
    [
        (relay_pb2.SubmitAck.RESULT_TEMPORARY_FAILURE, 451, "4.3.0"),
        (relay_pb2.SubmitAck.RESULT_INVALID, 451, "4.3.0"),
        (relay_pb2.SubmitAck.RESULT_UNSPECIFIED, 451, "4.3.0"),
        (relay_pb2.SubmitAck.RESULT_INSUFFICIENT_STORAGE, 452, "4.3.1"),
    ],
)
async def test_c35_a_failed_commit_gives_a_temporary_refusal(
    ingress: Ingress, result: int, code: int, enhanced: str
) -> None:
    """Case P6 of docs/cases.md describes this behaviour."""
    ingress.relay.result = result
    client = await ingress.client()
    reply = await client.send_mail()
    assert (reply.code, reply.enhanced) == (code, enhanced)
    assert (await client.command("DATA")).code == 503
    ingress.relay.result = relay_pb2.SubmitAck.RESULT_STORED
    assert (await client.send_mail()).code == 250


async def test_c133_mail_is_refused_at_mail_when_its_size_does_not_fit(ingress: Ingress) -> None:
    client = await ingress.client()
    await ingress.relay.tell_storage(relay_pb2.StorageState(accepting=True, available=1000))
    async with asyncio.timeout(60):
        while (await client.command("MAIL FROM:<a@example.org> SIZE=1001")).code == 250:
            await client.command("RSET")
    reply = await client.command("MAIL FROM:<a@example.org> SIZE=1001")
    assert (reply.code, reply.enhanced) == (452, "4.3.1")
    assert (await client.command("MAIL FROM:<a@example.org> SIZE=1000")).code == 250
    await client.command("RSET")
    await ingress.relay.tell_storage(relay_pb2.StorageState(accepting=False))
    async with asyncio.timeout(60):
        while (await client.command("MAIL FROM:<a@example.org>")).code == 250:
            await client.command("RSET")
    await ingress.relay.tell_storage(relay_pb2.StorageState(accepting=True, available=1 << 40))
    async with asyncio.timeout(60):
        while (await client.command("MAIL FROM:<a@example.org>")).code != 250:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


async def test_c33_a_very_slow_commit_is_still_answered(start: Start) -> None:
    """Case P2 of docs/cases.md describes this behaviour."""
    ingress = await start(command_seconds=0.2, data_block_seconds=0.2)
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    ingress.relay.acknowledging.clear()
    client.send(b"x: y\r\n\r\n.\r\n")
    waiting = asyncio.create_task(client.reply())
    done, _ = await asyncio.wait([waiting], timeout=0.8)
    assert not done
    ingress.relay.acknowledging.set()
    assert (await waiting).code == 250
    assert len(ingress.relay.messages) == 1


async def test_c33_a_commit_without_an_answer_gives_451_at_the_deadline(start: Start) -> None:
    ingress = await start(relay_seconds=0.5)
    ingress.relay.acknowledging.clear()
    client = await ingress.client()
    assert temporary(await client.send_mail())


@pytest.mark.parametrize("go", ["close", "reset"])
async def test_c34_a_client_that_disconnects_during_the_commit_does_not_stop_it(ingress: Ingress, go: str) -> None:
    """Case P3 of docs/cases.md describes this behaviour."""
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    ingress.relay.acknowledging.clear()
    client.send(b"x: y\r\n\r\n.\r\n")
    await ingress.relay.until(lambda: ingress.relay.frames > 0)
    getattr(client, go)()
    ingress.relay.acknowledging.set()
    await ingress.until_empty()
    assert len(ingress.relay.messages) == 1
    assert ingress.metrics.messages["accepted"] == 1


async def test_c34_a_client_that_disconnects_while_policy_decides_leaves_nothing(ingress: Ingress) -> None:
    ingress.policy.profile.ask_stages.append(pb.STAGE_END_OF_DATA)
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    ingress.policy.answering.clear()
    client.send(b"x: y\r\n\r\n.\r\n")
    await ingress.policy.until(lambda: bool(ingress.policy.asked(pb.STAGE_END_OF_DATA)))
    client.reset()
    # The reset is noticed before policy answers.
    await ingress.until_lost()
    ingress.policy.answering.set()
    await ingress.until_empty()
    assert not ingress.relay.messages
    assert ingress.metrics.messages["client_gone"] == 1


@pytest.mark.parametrize("listener", [Listener.SMTP, Listener.SUBMISSION])
async def test_c34_a_client_that_sends_everything_and_ends_its_side_is_answered(
    ingress: Ingress, listener: Listener
) -> None:
    client = await ingress.connect(listener)
    await client.reply()
    client.send(
        b"HELO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
        b"Subject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n"
    )
    client.writer.write_eof()
    assert await client.codes(6) == [250, 250, 250, 354, 250, 221]
    assert await client.until_closed() == b""
    assert len(ingress.relay.messages) == 1


async def test_c34_a_half_closed_connection_before_the_final_dot_leaves_nothing(ingress: Ingress) -> None:
    client = await ingress.client()
    client.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n.")
    client.writer.write_eof()
    assert await client.codes(3) == [250, 250, 354]
    assert await client.until_closed() == b""
    assert not ingress.relay.messages


async def test_a_submission_whose_stream_broke_is_sent_again_with_the_same_id(ingress: Ingress) -> None:
    ingress.relay.acknowledging.clear()
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    client.send(b"x: y\r\n\r\nbody\r\n.\r\n")
    await ingress.relay.until(lambda: ingress.relay.frames > 0)
    await ingress.relay.stop()
    ingress.relay.acknowledging.set()
    await ingress.relay.start()
    assert (await client.reply()).code == 250
    (stored,) = ingress.relay.messages
    assert stored.content.endswith(b"x: y\r\n\r\nbody\r\n")
    assert stored.submission.sent_before


async def test_a_submission_that_is_sent_once_is_not_marked_as_sent_before(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    client.send(b"x: y\r\n\r\nbody\r\n.\r\n")
    assert (await client.reply()).code == 250
    (stored,) = ingress.relay.messages
    assert not stored.submission.sent_before


async def test_a_large_submission_whose_stream_broke_is_sent_again_with_the_same_id(ingress: Ingress) -> None:
    ingress.relay.acknowledging.clear()
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    content = b"x: y\r\n\r\n" + (b"z" * 98 + b"\r\n") * 20_000
    await client.send_all(content + b".\r\n")
    await ingress.relay.until(lambda: ingress.relay.frames > 0)
    await ingress.relay.stop()
    ingress.relay.acknowledging.set()
    await ingress.relay.start()
    assert (await client.reply()).code == 250
    (stored,) = ingress.relay.messages
    assert stored.content.endswith(content)


async def test_another_policy_is_used_when_one_cannot_be_reached(start: Start, policy: FakePolicy) -> None:
    ingress = await start(policy_target=f"127.0.0.1:{free_port()},127.0.0.1:{policy.port}", connected=False)
    assert (await (await until_served(ingress)).send_mail()).code == 250


async def test_a_fault_of_our_own_gives_a_temporary_reply_without_details(
    ingress: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases P6 and C35 of docs/cases.md describe this behaviour."""

    def boom(*_: object, **__: object) -> None:
        raise RuntimeError("secret internals")

    client = await ingress.client()
    monkeypatch.setattr("services.ingress.trace.received", boom)
    reply = await client.send_mail()
    assert temporary(reply)
    assert "secret" not in reply.text
    assert await client.until_closed() == b""
    monkeypatch.undo()
    assert (await (await ingress.client()).send_mail()).code == 250
    assert len(ingress.relay.messages) == 1


async def test_too_many_waiting_refusals_are_dropped(ingress: Ingress) -> None:
    ingress.policy.on(pb.STAGE_RCPT, reject(550, "5.1.1"))
    client = await ingress.client()
    await client.command("MAIL FROM:<a@example.org>")
    await ingress.relay.stop()
    client.send(b"".join(b"RCPT TO:<r%d@example.com>\r\n" % number for number in range(2500)))
    assert await client.codes(2500) == [550] * 2500
    assert ingress.metrics.refusals_dropped == 500
    await ingress.relay.start()
    await ingress.relay.until(lambda: len(ingress.relay.refused) == 2000)


async def test_decisions_of_many_sessions_share_frames(ingress: Ingress) -> None:
    clients = [await ingress.client() for _ in range(20)]
    for client in clients:
        assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    before = ingress.policy.frames
    for client in clients:
        client.send(b"RCPT TO:<b@example.com>\r\n")
    for client in clients:
        assert (await client.reply()).code == 250
    assert ingress.policy.frames - before < 15


async def test_c92_messages_of_30_megabytes_are_accepted(start: Start, relay: FakeRelay) -> None:
    ingress = await start()
    ingress.policy.profile.max_message_size = 0
    ingress.policy.on(pb.STAGE_END_OF_DATA, accept())
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    block = (b"z" * 998 + b"\r\n") * 1000
    for _ in range(30):
        await client.send_all(block)
    client.send(b".\r\n")
    assert (await client.reply()).code == 250
    assert relay.messages[0].submission.content_size == len(relay.messages[0].content) > 30_000_000
