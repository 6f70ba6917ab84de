"""Limits that policy sets and ingress enforces, time-outs, hostile clients, other protocols (C25, C31 to C33)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.limits import refusal_delay
from services.ingress.session import Listener, Stage
from tests.fakes.policy import accept, delayed, discard, reject
from tests.ingress.conftest import Ingress, Start


def _at_most(recipients: int, refusal: pb.Verdict) -> Callable[[pb.DecideRequest], pb.Verdict]:
    """Scripts policy's limit of recipients for each message."""
    return lambda asked: accept() if asked.transaction.recipient_count < recipients else refusal


def _message_refused() -> pb.Verdict:
    verdict = reject(550, "5.5.3", reason_id="too_many_recipients")
    verdict.refuses_message = True
    return verdict


async def test_c25_recipients_over_the_limit_are_deferred_and_the_others_get_the_message(ingress: Ingress) -> None:
    """Case P19 of docs/cases.md describes this behaviour."""
    ingress.policy.profile.max_refused_recipients = 5
    ingress.policy.on(pb.STAGE_RCPT, _at_most(1000, reject(452, "4.5.3", reason_id="too_many_recipients")))
    client = await ingress.client()
    client.send(b"MAIL FROM:<a@example.org>\r\n" + b"".join(b"RCPT TO:<r%d@example.com>\r\n" % n for n in range(1020)))
    assert await client.codes(1001) == [250] * 1001
    # Refused recipients must neither delay the session nor end it, or else the accepted ones would not get the mail.
    assert await client.codes(20) == [452] * 20
    assert (await client.data(b"x: y\r\n\r\n")).code == 250
    assert len(ingress.relay.messages[0].recipients) == 1000


@pytest.mark.parametrize("command", ["DATA", "BDAT 3 LAST\r\nabc"])
async def test_f53_a_setting_refuses_the_whole_message_over_the_recipient_limit(ingress: Ingress, command: str) -> None:
    ingress.policy.on(pb.STAGE_RCPT, _at_most(2, _message_refused()))
    client = await ingress.client()
    await client.envelope("a@example.org", "1@example.com", "2@example.com")
    for recipient in ("3@example.com", "4@example.com"):
        reply = await client.command(f"RCPT TO:<{recipient}>")
        assert (reply.code, reply.enhanced) == (550, "5.5.3")
    client.send(command.encode() + (b"" if command.startswith("BDAT") else b"\r\n"))
    reply = await client.reply()
    assert (reply.code, reply.enhanced) == (554, "5.5.3")
    assert (await client.command("DATA")).code == 503
    await ingress.relay.until(lambda: len(ingress.relay.refused) == 2)
    assert [(each.stage, each.reason_id) for each in ingress.relay.refused] == [
        ("RCPT", "too_many_recipients"),
        ("DATA", "too_many_recipients"),
    ]
    assert list(ingress.relay.refused[1].recipients) == [b"1@example.com", b"2@example.com"]
    assert not ingress.relay.messages
    # Policy decided about the third recipient; the fourth is refused without asking policy.
    assert len(ingress.policy.asked(pb.STAGE_RCPT)) == 3
    # In the next message the count begins again.
    assert (await client.send_mail(b"x: y\r\n\r\n", "1@example.com")).code == 250


async def test_the_memory_of_discarded_recipients_is_bounded(ingress: Ingress) -> None:
    ingress.policy.on(pb.STAGE_RCPT, discard("access_sender", "r1"))
    client = await ingress.client()
    client.send(b"MAIL FROM:<a@example.org>\r\n" + b"".join(b"RCPT TO:<r%d@example.com>\r\n" % n for n in range(1500)))
    assert await client.codes(1501) == [250] * 1501
    assert (await client.data(b"x: y\r\n\r\n")).code == 250
    assert len(ingress.relay.messages[0].recipients) == 1000


async def test_a_session_is_closed_after_too_many_refused_recipients(ingress: Ingress) -> None:
    ingress.policy.profile.max_refused_recipients = 3
    ingress.policy.on(pb.STAGE_RCPT, reject(550, "5.1.1", reason_id="unknown_recipient"))
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    for number in range(3):
        assert (await client.command(f"RCPT TO:<r{number}@example.com>")).code == 550
        # Neither the end of a transaction nor a new transaction resets the count.
        await client.command("RSET")
        await client.command("MAIL FROM:<a@example.org>")
    reply = await client.command("RCPT TO:<last@example.com>")
    assert (reply.code, reply.enhanced) == (421, "4.7.0")
    assert await client.until_closed() == b""


async def test_temporarily_refused_recipients_do_not_end_the_session(ingress: Ingress) -> None:
    ingress.policy.profile.max_refused_recipients = 3
    ingress.policy.on(pb.STAGE_RCPT, reject(450, "4.7.1"))
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    for number in range(6):
        assert (await client.command(f"RCPT TO:<r{number}@example.com>")).code == 450


def test_answers_to_refused_recipients_are_delayed_more_and_more() -> None:
    assert [round(refusal_delay(refused), 1) for refused in range(1, 14)] == [0.0] * 9 + [0.1, 0.2, 0.3, 0.4]
    assert [round(refusal_delay(refused), 1) for refused in (57, 58, 59, 60, 1000)] == [4.8, 4.9, 5.0, 5.0, 5.0]


async def test_delayed_answers_keep_their_order(ingress: Ingress) -> None:
    ingress.policy.profile.max_refused_recipients = 11
    ingress.policy.on(pb.STAGE_RCPT, reject(550, "5.1.1", reason_id="unknown_recipient"))
    client = await ingress.client()
    client.send(b"MAIL FROM:<a@example.org>\r\n" + b"".join(b"RCPT TO:<r%d@example.com>\r\n" % n for n in range(20)))
    assert await client.codes(13) == [250] + [550] * 11 + [421]
    assert await client.until_closed() == b""
    assert len(ingress.policy.asked(pb.STAGE_RCPT)) == 12


async def test_without_a_limit_refused_recipients_cause_no_delay(ingress: Ingress) -> None:
    ingress.policy.profile.max_refused_recipients = 0
    ingress.policy.on(pb.STAGE_RCPT, reject(550, "5.1.1", reason_id="unknown_recipient"))
    client = await ingress.client()
    client.send(b"MAIL FROM:<a@example.org>\r\n" + b"".join(b"RCPT TO:<r%d@example.com>\r\n" % n for n in range(500)))
    assert await client.codes(501) == [250] + [550] * 500


@pytest.mark.parametrize(
    "octets",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nEHLO x\r\nMAIL FROM:<evil@example.net>\r\n",
        b"GET /index.html HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 500,
        b"CONNECT example.net:25 HTTP/1.1\r\n\r\n",
        b"get / http/1.1\r\n\r\n",
        b"PATCH /a path with blanks HTTP/1.1\r\n",
        b"M-SEARCH * HTTP/1.1\r\n",
        # A script on a web page may choose the HTTP method, so a request may begin with an SMTP command.
        b"NOOP /%b HTTP/1.1\r\nHost: localhost\r\n\r\nEHLO x\r\n" % (b"x" * 900),
        b"host: localhost\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"INVITE sip:joe@example.net SIP/2.0\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["post", "get", "client hello", "connect", "small", "blanks", "dash", "noop", "field", "answer", "sip", "ssh"],
)
@pytest.mark.parametrize("early", [True, False], ids=["before the greeting", "after it"])
async def test_c31_a_connection_with_another_protocol_is_closed_at_once(
    ingress: Ingress, octets: bytes, early: bool
) -> None:
    """Case P20 of docs/cases.md describes this behaviour."""
    client = await ingress.connect()
    if not early:
        assert (await client.reply()).code == 220
    client.send(octets)
    reply = await client.reply()
    assert (reply.code, reply.enhanced) == (554, "5.5.0")
    assert await client.until_closed() == b""
    assert not ingress.policy.asked(pb.STAGE_RCPT)


async def test_c31_an_http_request_within_a_session_closes_it(ingress: Ingress) -> None:
    client = await ingress.client()
    client.send(b"GET / HTTP/1.1\r\nMAIL FROM:<evil@example.net>\r\n")
    assert (await client.reply()).code == 554
    assert await client.until_closed() == b""


@pytest.mark.parametrize(
    "sent", [b"", b"EHL", b"EHLO client.example\r\n", b"EHLO client.example\r\nMAIL FROM:<a@b.cc>\r\n"]
)
async def test_c32_an_idle_client_is_disconnected(start: Start, sent: bytes) -> None:
    ingress = await start(command_seconds=0.4)
    client = await ingress.connect()
    assert (await client.reply()).code == 220
    client.send(sent)
    answer = await client.until_closed()
    assert answer.splitlines()[-1].startswith(b"421 4.4.2 ")
    await ingress.until_empty()


async def test_c32_one_octet_at_a_time_does_not_extend_the_wait_for_a_command(start: Start) -> None:
    ingress = await start(command_seconds=0.5)
    client = await ingress.client()
    closed = asyncio.create_task(client.until_closed())
    with contextlib.suppress(ConnectionError):
        for _ in range(400):
            if closed.done():
                break
            client.send(b"x")
            await asyncio.sleep(0.01)
    assert (await closed).startswith(b"421 4.4.2 ")


async def test_c32_a_noop_loop_ends_at_the_time_limit_of_the_session(start: Start) -> None:
    """Case P20 of docs/cases.md describes this behaviour."""
    ingress = await start(mailless_session_seconds=0.6)
    ingress.policy.profile.max_junk_commands = 0
    client = await ingress.client()
    with pytest.raises((EOFError, ConnectionError, AssertionError)):  # noqa: PT012 - each call may fail
        for _ in range(100_000):
            reply = await client.command("NOOP")
            assert reply.code == 250
            await asyncio.sleep(0.005)
    await ingress.until_empty()
    assert ingress.metrics.sessions_ended["timed_out"] == 1


async def test_c32_a_session_with_content_that_arrives_too_slowly_is_closed(start: Start) -> None:
    ingress = await start(data_grace_seconds=0.4, min_data_rate=1000)
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    closed = asyncio.create_task(client.until_closed())
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            if closed.done():
                break
            client.send(b"x\r\n")
            await asyncio.sleep(0.01)
    assert (await closed).startswith(b"421 4.4.2 ")
    assert not ingress.relay.messages


async def test_c33_slow_but_steady_content_may_take_longer_than_a_command(start: Start) -> None:
    """Case P2 of docs/cases.md describes this behaviour."""
    ingress = await start(command_seconds=0.4, data_block_seconds=5, min_data_rate=10)
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    for _ in range(12):
        client.send(b"a line\r\n")
        await asyncio.sleep(0.1)
    client.send(b".\r\n")
    assert (await client.reply()).code == 250


async def test_connections_over_the_limit_are_refused(start: Start) -> None:
    ingress = await start(max_connections=2)
    first, second = await ingress.client(), await ingress.client()
    third = await ingress.connect()
    reply = await third.reply()
    assert (reply.code, reply.enhanced) == (421, "4.3.2")
    assert await third.until_closed() == b""
    assert (await first.command("NOOP")).code == 250
    await second.command("QUIT")
    await second.until_closed()
    await ingress.until_open(1)
    assert (await (await ingress.connect()).reply()).code == 220
    assert ingress.metrics.sessions_refused["too_many"] == 1


async def test_connections_of_one_client_over_the_limit_are_refused(start: Start) -> None:
    ingress = await start(max_connections_per_client=1)
    first = await ingress.client()
    second = await ingress.connect()
    reply = await second.reply()
    assert (reply.code, reply.enhanced) == (421, "4.7.0")
    await first.command("QUIT")
    await first.until_closed()
    await ingress.until_empty()
    assert (await (await ingress.connect()).reply()).code == 220


async def test_a_refused_connection_gets_the_reply_of_policy_and_is_closed(ingress: Ingress) -> None:
    ingress.policy.on(pb.STAGE_CONNECT, reject(421, "4.7.0", "Too many connections", close=True))
    client = await ingress.connect()
    reply = await client.reply()
    assert (reply.code, reply.text) == (421, "4.7.0 Too many connections")
    assert await client.until_closed() == b""


async def test_policy_is_asked_about_junk_commands_over_the_limit(ingress: Ingress) -> None:
    ingress.policy.profile.max_junk_commands = 5
    ingress.policy.on(pb.STAGE_JUNK_COMMAND, reject(421, "4.7.0", "Too much junk", close=True))
    client = await ingress.client()
    for command in ("NOOP", "RSET", "VRFY x", "EXPN x", "EHLO client.example"):
        assert (await client.command(command)).code in (250, 252, 502)
    assert not ingress.policy.asked(pb.STAGE_JUNK_COMMAND)
    assert (await client.command("HELP")).code == 421
    assert await client.until_closed() == b""
    (asked,) = ingress.policy.asked(pb.STAGE_JUNK_COMMAND)
    assert asked.session.junk_commands == 6


async def test_junk_commands_are_counted_once_at_mail_and_reset_after_a_message(ingress: Ingress) -> None:
    ingress.policy.on(pb.STAGE_MAIL, delayed(0.15))
    client = await ingress.client()
    for _ in range(23):
        await client.command("NOOP")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await client.envelope()
    assert loop.time() - began >= 0.14
    assert (await client.data(b"x: y\r\n\r\n")).code == 250
    (asked,) = ingress.policy.asked(pb.STAGE_MAIL)
    assert (asked.session.junk_commands, asked.session.junk_commands_uncharged) == (23, 23)
    assert ingress.policy.asked(pb.STAGE_RCPT)[0].session.junk_commands_uncharged == 3
    await client.envelope()
    assert len(ingress.policy.asked(pb.STAGE_MAIL)) == 1
    assert ingress.policy.asked(pb.STAGE_RCPT)[1].session.junk_commands == 0


async def test_policy_is_asked_only_at_the_stages_of_the_profile(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.send_mail()).code == 250
    assert [request.stage for request in ingress.policy.requests] == [pb.STAGE_CONNECT, pb.STAGE_RCPT]
    ingress.policy.profile.ask_stages.extend([pb.STAGE_HELO, pb.STAGE_MAIL, pb.STAGE_DATA, pb.STAGE_END_OF_DATA])
    ingress.policy.requests.clear()
    client = await ingress.client()
    assert (await client.send_mail(b"From: A <a@example.org>\r\nReceived: x\r\n\r\nhi\r\n")).code == 250
    assert [request.stage for request in ingress.policy.requests] == [1, 2, 4, 5, 6, 7]
    content = ingress.policy.requests[-1].content
    assert (content.size, content.hops, content.from_fields) == (44, 1, 1)
    assert list(content.from_addresses) == [b"a@example.org"]
    assert not content.dkim_checked


@pytest.mark.parametrize("stage", [pb.STAGE_HELO, pb.STAGE_MAIL, pb.STAGE_RCPT, pb.STAGE_DATA, pb.STAGE_END_OF_DATA])
async def test_a_rejection_at_any_stage_is_answered_and_reported_and_the_session_continues(
    ingress: Ingress, stage: int
) -> None:
    ingress.policy.profile.ask_stages.extend([pb.STAGE_HELO, pb.STAGE_MAIL, pb.STAGE_DATA, pb.STAGE_END_OF_DATA])
    ingress.policy.on(stage, reject(550, "5.7.1", "Not today", reason_id="a_rule"))
    client = await ingress.connect()
    await client.reply()
    commands = ["EHLO c.example", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>", "DATA", "x: y\r\n\r\n\r\n."]
    for number, command in enumerate(commands):
        reply = await client.command(command)
        if number == [2, 4, 5, 6, 7].index(stage):
            assert (reply.code, reply.text) == (550, "5.7.1 Not today")
            break
        assert reply.code in (250, 354)
    assert (await client.command("NOOP")).code == 250
    assert not ingress.relay.messages
    if stage != pb.STAGE_HELO:
        await ingress.relay.until(lambda: bool(ingress.relay.refused))
        (refused,) = ingress.relay.refused
        assert (refused.code, refused.enhanced_code, refused.text) == (550, "5.7.1", "Not today")
        assert (refused.reason_id, refused.stage) == ("a_rule", Stage(stage).name)
        assert refused.sender == b"a@example.org"
        assert (refused.listener, refused.tls) == ("smtp", False)


async def test_a_session_is_closed_when_the_verdict_says_so(ingress: Ingress) -> None:
    ingress.policy.on(pb.STAGE_RCPT, reject(550, "5.7.1", "Blocked", close=True))
    client = await ingress.client()
    client.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\n")
    assert await client.codes(2) == [250, 550]
    assert await client.until_closed() == b""


async def test_a_discarded_recipient_is_recorded_and_the_others_get_the_message(ingress: Ingress) -> None:
    ingress.policy.on(
        pb.STAGE_RCPT,
        lambda request: discard("block_rule", "r1") if request.transaction.recipient == b"no@example.com" else accept(),
    )
    client = await ingress.client()
    assert (await client.send_mail(b"x: y\r\n\r\n", "no@example.com", "yes@example.com")).code == 250
    first, second = ingress.relay.messages[0].submission.envelope.recipients
    assert (first.discarded, first.discard_reason, first.discard_rule_id) == (True, "block_rule", "r1")
    assert not second.discarded


@pytest.mark.parametrize("stage", [pb.STAGE_MAIL, pb.STAGE_RCPT, pb.STAGE_END_OF_DATA])
async def test_a_completely_discarded_message_is_answered_as_accepted_and_recorded(
    ingress: Ingress, stage: int
) -> None:
    ingress.policy.profile.ask_stages.extend([pb.STAGE_MAIL, pb.STAGE_END_OF_DATA])
    ingress.policy.on(stage, discard("block_rule", "r1"))
    client = await ingress.client()
    assert (await client.send_mail(b"x: y\r\n\r\n", "a@example.com", "b@example.com")).code == 250
    recipients = ingress.relay.messages[0].submission.envelope.recipients
    assert [(recipient.discarded, recipient.discard_reason) for recipient in recipients] == [(True, "block_rule")] * 2
    # Policy is asked at no later stage once the whole message is discarded.
    assert bool(ingress.policy.asked(pb.STAGE_END_OF_DATA)) == (stage == pb.STAGE_END_OF_DATA)


async def test_a_client_that_does_not_read_its_replies_is_disconnected(start: Start) -> None:
    ingress = await start(command_seconds=0.5)
    ingress.policy.profile.max_junk_commands = 0
    plain = socket.create_connection(("127.0.0.1", ingress.port()))
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(60):
            await loop.sock_sendall(plain, b"EHLO client.example\r\n" + b"HELP\r\n" * 2_000_000)
    await ingress.until_empty()
    plain.close()


async def test_c32_a_flood_of_commands_does_not_delay_other_sessions(ingress: Ingress) -> None:
    ingress.policy.profile.max_junk_commands = 0
    flooding, patient = await ingress.client(), await ingress.client()
    flooding.send(b"NOOP\r\n" * 8_000)
    assert (await patient.command("NOOP")).code == 250
    assert ingress.metrics.commands["NOOP"] < 4_000
    assert await flooding.codes(8_000) == [250] * 8_000


async def test_policy_knows_the_listener_of_each_command(ingress: Ingress) -> None:
    for listener in Listener:
        client = await ingress.client(listener)
        await client.envelope()
    assert [r.session.listener for r in ingress.policy.asked(pb.STAGE_RCPT)] == [1, 2, 3]
