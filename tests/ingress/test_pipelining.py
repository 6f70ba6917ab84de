"""Pipelining where it is allowed; policy is asked once about the violations of a session (RFC 2920; C20, C21)."""

from __future__ import annotations

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.session import Listener
from tests.fakes.policy import accept, reject
from tests.ingress.conftest import Ingress

REJECT = reject(554, "5.5.0", "Improper command pipelining", close=True, reason_id="pipelining")
MESSAGE = b"Subject: x\r\n\r\nbody\r\n.\r\n"


@pytest.fixture
def enforced(ingress: Ingress) -> Ingress:
    ingress.policy.profile.ask_stages.append(pb.STAGE_PIPELINING)
    ingress.policy.on(pb.STAGE_PIPELINING, REJECT)
    return ingress


def violations(ingress: Ingress) -> list[int]:
    return [request.session.pipelining_violation for request in ingress.policy.asked(pb.STAGE_PIPELINING)]


async def test_c20_octets_before_the_greeting_are_violations(enforced: Ingress) -> None:
    client = await enforced.connect()
    client.send(b"EHLO client.example\r\n")
    reply = await client.reply()
    assert (reply.code, reply.enhanced) == (554, "5.5.0")
    assert await client.until_closed() == b""
    assert violations(enforced) == [pb.PIPELINING_VIOLATION_BEFORE_GREETING]


@pytest.mark.parametrize("verb", [b"EHLO", b"HELO"])
async def test_c20_octets_before_the_answer_to_ehlo_are_violations(enforced: Ingress, verb: bytes) -> None:
    client = await enforced.connect()
    await client.reply()
    client.send(verb + b" client.example\r\nMAIL FROM:<a@example.org>\r\n")
    assert (await client.reply()).code == 554
    assert await client.until_closed() == b""
    assert violations(enforced) == [pb.PIPELINING_VIOLATION_AFTER_HELO]


async def test_c20_octets_before_the_answer_to_data_are_violations(enforced: Ingress) -> None:
    client = await enforced.client()
    client.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" + MESSAGE)
    assert await client.codes(3) == [250, 250, 554]
    assert await client.until_closed() == b""
    assert violations(enforced) == [pb.PIPELINING_VIOLATION_AFTER_DATA]
    assert not enforced.relay.messages


async def test_c20_octets_before_the_answer_to_starttls_are_violations(enforced: Ingress) -> None:
    client = await enforced.client()
    client.send(b"STARTTLS\r\nEHLO client.example\r\n")
    assert (await client.reply()).code == 554
    assert await client.until_closed() == b""
    assert violations(enforced) == [pb.PIPELINING_VIOLATION_AFTER_STARTTLS]


async def test_c20_pipelined_commands_after_helo_are_violations(enforced: Ingress) -> None:
    client = await enforced.connect()
    await client.reply()
    assert (await client.command("HELO client.example")).code == 250
    client.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n")
    assert (await client.reply()).code == 554
    assert violations(enforced) == [pb.PIPELINING_VIOLATION_NOT_OFFERED]


@pytest.mark.parametrize("listener", [Listener.SUBMISSION, Listener.SUBMISSIONS])
async def test_c20_ehlo_and_quit_in_one_write_are_accepted_on_submission(enforced: Ingress, listener: Listener) -> None:
    client = await enforced.connect(listener)
    if listener is Listener.SUBMISSIONS:
        await client.start_tls()
    await client.reply()
    client.send(b"EHLO client.example\r\nQUIT\r\n")
    assert await client.codes(2) == [250, 221]
    assert violations(enforced) == []


async def test_c20_ehlo_and_quit_in_one_write_are_a_violation_on_the_smtp_port(enforced: Ingress) -> None:
    client = await enforced.connect()
    await client.reply()
    client.send(b"EHLO client.example\r\nQUIT\r\n")
    assert (await client.reply()).code == 554


async def test_pipelining_of_rfc_2920_is_not_a_violation(enforced: Ingress) -> None:
    client = await enforced.client()
    for _ in range(3):
        client.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n")
        assert await client.codes(4) == [250, 250, 250, 354]
        client.send(MESSAGE + b"RSET\r\nNOOP\r\n")
        assert await client.codes(3) == [250, 250, 250]
    client.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nBDAT 4 LAST\r\nx\r\n\r\nQUIT\r\n")
    assert (await client.codes(3))[:2] == [250, 250]
    assert violations(enforced) == []


async def test_violations_are_reported_as_facts_when_policy_is_not_asked(ingress: Ingress) -> None:
    client = await ingress.connect()
    client.send(b"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n")
    assert await client.codes(4) == [220, 250, 250, 250]
    (request,) = ingress.policy.asked(pb.STAGE_RCPT)
    assert request.session.pipelining_violation == pb.PIPELINING_VIOLATION_BEFORE_GREETING


async def test_policy_is_asked_only_about_the_first_violation_of_a_session(enforced: Ingress) -> None:
    enforced.policy.on(pb.STAGE_PIPELINING, pb.Verdict(action=pb.ACTION_ACCEPT))
    client = await enforced.connect()
    client.send(b"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" + MESSAGE)
    assert await client.codes(6) == [220, 250, 250, 250, 354, 250]
    assert violations(enforced) == [pb.PIPELINING_VIOLATION_BEFORE_GREETING]


async def test_each_of_many_pipelined_commands_is_answered(enforced: Ingress) -> None:
    client = await enforced.client()
    client.send(b"NOOP\r\n" * 50 + b"MAIL FROM:<a@example.org>\r\n")
    assert await client.codes(51) == [250] * 51


async def test_c21_pipelined_commands_after_a_refusal_are_answered_in_order(ingress: Ingress) -> None:
    ingress.policy.on(
        pb.STAGE_RCPT,
        lambda request: reject(550, "5.1.1") if request.transaction.recipient.startswith(b"bad") else accept(),
    )
    client = await ingress.client()
    client.send(
        b"MAIL FROM:<a@example.org>\r\nRCPT TO:<bad1@example.com>\r\nRCPT TO:<bad2@example.com>\r\nDATA\r\n.\r\n"
    )
    assert await client.codes(5) == [250, 550, 550, 554, 500]
    client.send(
        b"RSET\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<bad@example.com>\r\nRCPT TO:<good@example.com>\r\nDATA\r\n"
    )
    assert await client.codes(5) == [250, 250, 550, 250, 354]
    client.send(MESSAGE)
    assert (await client.reply()).code == 250
    assert ingress.relay.messages[0].recipients == [b"good@example.com"]
