"""One transaction with a scripted next hop: what relay sends, and which outcome each recipient has."""

from __future__ import annotations

import asyncio

import pytest

from services.relay.configuration.model import QueueSettings
from services.relay.model.attempt import OutgoingMessage, OutgoingRecipient, Result
from tests.peers.smtp_sink import Close, Ending, Endless, Offer, Reset, SmtpSink, Stage, in_packets, reply
from tests.relay.delivery.conftest import CONTENT, SENDER, Gateway

PIPELINING = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "step-by-step"])
FIVE = [b"a@example.net", b"b@example.net", b"c@example.net", b"d@example.net", b"e@example.net"]


@pytest.fixture
def by_sink(gateway: Gateway, smtp_sink: SmtpSink) -> Gateway:
    gateway.by_relay_host(smtp_sink)
    return gateway


def offer(sink: SmtpSink, **changed: object) -> None:
    sink.offer = Offer(**changed)  # type: ignore[arg-type]


@PIPELINING
async def test_a_message_arrives_as_it_is(by_sink: Gateway, smtp_sink: SmtpSink, pipelining: bool) -> None:
    offer(smtp_sink, pipelining=pipelining)
    outcome = await by_sink.deliver_one()
    assert (outcome.result, outcome.code, outcome.port) == (Result.DELIVERED, 250, smtp_sink.port)
    (message,) = smtp_sink.messages
    assert (message.sender, message.accepted_recipients, message.content) == (SENDER, [b"bob@example.net"], CONTENT)
    assert (smtp_sink.sessions[0].pipelined > 0) is pipelining


@PIPELINING
async def test_refused_recipients_do_not_affect_others(by_sink: Gateway, smtp_sink: SmtpSink, pipelining: bool) -> None:
    """Case C118 of docs/cases.md describes this behaviour."""
    offer(smtp_sink, pipelining=pipelining)
    for address, answer in zip(
        FIVE[1:], ("550 5.1.1 No", "451 4.3.0 Later", "452 4.2.2 Full", "552 Many"), strict=True
    ):
        smtp_sink.on(Stage.RCPT, reply(answer), address=address)
    outcomes = await by_sink.deliver(*FIVE)
    assert [outcome.result for outcome in outcomes] == [
        Result.DELIVERED,
        Result.FAILED,
        Result.DEFERRED,
        Result.DEFERRED,
        Result.DEFERRED,
    ]
    assert [outcome.code for outcome in outcomes] == [250, 550, 451, 452, 552]
    assert [outcome.delivery_id for outcome in outcomes] == [0, 1, 2, 3, 4]
    (message,) = smtp_sink.messages
    assert message.accepted_recipients == FIVE[:1]


async def test_a_server_that_accepts_data_without_a_recipient_gets_empty_content(
    by_sink: Gateway, smtp_sink: SmtpSink
) -> None:
    """Case C118 of docs/cases.md describes this behaviour."""
    smtp_sink.on(Stage.RCPT, reply("550 5.1.1 No"))
    smtp_sink.on(Stage.DATA, reply("354 Go ahead"))
    outcome = await by_sink.deliver_one()
    assert outcome.result is Result.FAILED
    octets = bytes(smtp_sink.sessions[0].octets)
    assert octets.endswith(b"DATA\r\n.\r\n")
    assert CONTENT[:20] not in octets


@PIPELINING
async def test_without_an_accepted_recipient_no_content_is_sent(
    by_sink: Gateway, smtp_sink: SmtpSink, pipelining: bool
) -> None:
    offer(smtp_sink, pipelining=pipelining)
    smtp_sink.on(Stage.RCPT, reply("550 5.1.1 No"), times=2)
    assert {outcome.result for outcome in await by_sink.deliver(*FIVE[:2])} == {Result.FAILED}
    assert ("DATA" in smtp_sink.sessions[0].verbs) is pipelining
    # The session is used again for the next message.
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert len(smtp_sink.sessions) == 1


@PIPELINING
@pytest.mark.parametrize(
    ("stage", "answer", "result"),
    [
        (Stage.MAIL, "550 5.7.1 Not you", Result.FAILED),
        (Stage.MAIL, "451 4.3.0 Later", Result.DEFERRED),
        (Stage.DATA, "554 5.7.1 No", Result.FAILED),
        (Stage.DATA, "451 4.3.0 Later", Result.DEFERRED),
        (Stage.DATA, "250 What?", Result.DEFERRED),
        (Stage.END_OF_DATA, "554 5.6.0 Spam", Result.FAILED),
        (Stage.END_OF_DATA, "452 4.3.1 Disk", Result.DEFERRED),
        (Stage.END_OF_DATA, "552 5.3.4 Big", Result.FAILED),
        (Stage.END_OF_DATA, "354 Huh", Result.DEFERRED),
    ],
)
async def test_replies_to_mail_data_and_content_apply_to_all_recipients(
    by_sink: Gateway, smtp_sink: SmtpSink, pipelining: bool, stage: Stage, answer: str, result: Result
) -> None:
    offer(smtp_sink, pipelining=pipelining)
    smtp_sink.on(stage, reply(answer), times=1)
    outcomes = await by_sink.deliver(*FIVE[:2])
    assert {outcome.result for outcome in outcomes} == {result}
    assert {outcome.code for outcome in outcomes} == {int(answer[:3])}
    assert not any(outcome.possible_duplicate for outcome in outcomes)
    # After each of these replies, the next message is delivered.
    assert (await by_sink.deliver_one()).result is Result.DELIVERED


@pytest.mark.parametrize("content", [b"x\r\n", b".", b"", b".\r\n..\r\n...\r\n.a\r\n", b"a\r\n.\r\nb\r\n", b"no end"])
async def test_dots_are_doubled_once_and_nothing_else_changes(
    by_sink: Gateway, smtp_sink: SmtpSink, content: bytes
) -> None:
    """Case C06 of docs/cases.md describes this behaviour."""
    assert (await by_sink.deliver_one(content=content)).result is Result.DELIVERED
    received = smtp_sink.messages[0].content
    assert received == (content if content.endswith(b"\r\n") or not content else content + b"\r\n")


async def test_dots_at_the_border_of_blocks_are_doubled(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """Cases C05 and C06 of docs/cases.md describe this behaviour."""
    content = b"x" * 65_533 + b"\r\n.y\r\n" + b"z" * 65_000 + b"\r\n..\r\n" + b"w" * 200_000 + b"\r\n"
    assert (await by_sink.deliver_one(content=content)).result is Result.DELIVERED
    assert smtp_sink.messages[0].content == content


async def test_no_header_field_is_added_or_removed(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """C145, C147: only ingress adds or removes Bcc, Message-ID and Date."""
    content = b"bcc: eve@example.net\r\nBCC:\r\n x@example.net\r\nFrom: a@b.test\r\n\r\nNo Date, no Message-ID.\r\n"
    await by_sink.deliver_one(content=content)
    assert smtp_sink.messages[0].content == content


async def test_the_null_sender_is_sent_as_the_null_path(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """Case C58 of docs/cases.md describes this behaviour."""
    assert (await by_sink.deliver_one(sender=b"")).result is Result.DELIVERED
    assert smtp_sink.messages[0].sender == b""
    assert b"MAIL FROM:<>" in smtp_sink.sessions[0].octets


@pytest.mark.parametrize(
    "address", [b'"odd user"@example.net', b'"a@b"@example.net', b'"a\\"b>c"@example.net', b"a+b=c@x.y"]
)
async def test_quoted_local_parts_keep_their_quotes(by_sink: Gateway, smtp_sink: SmtpSink, address: bytes) -> None:
    """Cases C50 and C126 of docs/cases.md describe this behaviour."""
    assert (await by_sink.deliver_one(address)).result is Result.DELIVERED
    assert b"RCPT TO:<" + address + b">" in smtp_sink.sessions[0].commands


@pytest.mark.parametrize("address", [b"a\r\nDATA@example.net", b"a\nb@example.net", b"a\x00b@example.net"])
async def test_no_control_character_reaches_a_command(by_sink: Gateway, smtp_sink: SmtpSink, address: bytes) -> None:
    outcomes = await by_sink.deliver(b"bob@example.net", address)
    assert [outcome.result for outcome in outcomes] == [Result.DELIVERED, Result.FAILED]
    assert smtp_sink.messages[0].accepted_recipients == [b"bob@example.net"]
    assert (await by_sink.deliver_one(sender=address)).result is Result.FAILED
    assert len(smtp_sink.transactions) == 1


# Extensions


async def test_parameters_are_sent_when_offered_and_needed(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    eight = CONTENT + "caf\u00e9\r\n".encode()
    message = OutgoingMessage("q", SENDER, eight, ret="HDRS", envelope_id=b"id+2B1", smtputf8=True)
    recipient = OutgoingRecipient(1, b"bob@example.net", ("SUCCESS", "FAILURE"), b"rfc822;b+2Bob@example.net")
    (outcome,) = await by_sink.deliver(recipient, message=message)
    assert outcome.dsn_passed_on
    (sent,) = smtp_sink.messages
    assert set(sent.parameters) == {b"SIZE=%d" % len(eight), b"BODY=8BITMIME", b"RET=HDRS", b"ENVID=id+2B1"}
    assert set(sent.recipients[0].parameters) == {b"NOTIFY=SUCCESS,FAILURE", b"ORCPT=rfc822;b+2Bob@example.net"}


async def test_a_server_without_extensions_gets_no_parameters(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """C59, C63: an ASCII envelope and header need no SMTPUTF8, and an 8-bit body is sent unchanged."""
    offer(smtp_sink, pipelining=False, eight_bit=False, smtputf8=False, dsn=False, size=None)
    eight = CONTENT + b"caf\xe9 \xff\xfe\r\n"
    message = OutgoingMessage("q", SENDER, eight, smtputf8=True, body_8bitmime=True, ret="FULL", envelope_id=b"x")
    (outcome,) = await by_sink.deliver(OutgoingRecipient(1, b"bob@example.net", ("NEVER",)), message=message)
    assert (outcome.result, outcome.dsn_passed_on) == (Result.DELIVERED, False)
    (sent,) = smtp_sink.messages
    assert (sent.parameters, sent.recipients[0].parameters, sent.content) == ((), (), eight)


async def test_a_server_from_before_esmtp_is_greeted_with_helo(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    offer(smtp_sink, ehlo=False)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert smtp_sink.sessions[0].greeting_word == "HELO"


UTF8_HEADER = CONTENT.replace(b"hello", "caf\u00e9".encode())


@pytest.mark.parametrize(
    ("sender", "content", "flag"),
    [("j\u00fcrgen@example.org".encode(), CONTENT, False), (SENDER, UTF8_HEADER, True)],
    ids=["sender", "header"],
)
async def test_mail_that_needs_smtputf8_bounces_when_it_is_not_offered(
    by_sink: Gateway, smtp_sink: SmtpSink, sender: bytes, content: bytes, flag: bool
) -> None:
    """C59, C61: a message that needs SMTPUTF8 and one that does not may use the same connection, in either order."""
    message = OutgoingMessage("q", sender, content, smtputf8=flag)
    (outcome,) = await by_sink.deliver(message=message)
    assert outcome.result is Result.DELIVERED
    assert b"SMTPUTF8" in smtp_sink.messages[0].parameters
    await by_sink.deliver_one()
    assert b"SMTPUTF8" not in smtp_sink.messages[1].parameters
    assert len(smtp_sink.sessions) == 1

    offer(smtp_sink, smtputf8=False)
    by_sink.configuration_is(hostname="other.posthouse.test")
    (outcome,) = await by_sink.deliver(message=message)
    assert (outcome.result, outcome.enhanced_code) == (Result.FAILED, "5.6.7")
    assert (await by_sink.deliver_one()).result is Result.DELIVERED


async def test_unlabelled_octets_in_a_header_do_not_ask_for_smtputf8(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """C63: the message was received without the extension, so it may be sent without it."""
    assert (await by_sink.deliver_one(content=CONTENT.replace(b"hello", b"caf\xe9"))).result is Result.DELIVERED
    assert b"SMTPUTF8" not in smtp_sink.messages[0].parameters


async def test_a_recipient_that_needs_smtputf8_does_not_affect_others(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    offer(smtp_sink, smtputf8=False)
    outcomes = await by_sink.deliver("j\u00fcrgen@example.net".encode(), b"bob@example.net")
    assert [(outcome.result, outcome.enhanced_code) for outcome in outcomes] == [
        (Result.FAILED, "5.6.7"),
        (Result.DELIVERED, "2.0.0"),
    ]
    assert [outcome.own for outcome in outcomes] == [True, False]


async def test_a_recipient_beyond_ascii_makes_mail_use_smtputf8(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    outcome = await by_sink.deliver_one("j\u00fcrgen@example.net".encode())
    assert outcome.result is Result.DELIVERED
    assert b"SMTPUTF8" in smtp_sink.messages[0].parameters


async def test_a_message_above_the_servers_size_is_not_sent(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    offer(smtp_sink, size=1000)
    outcome = await by_sink.deliver_one(content=b"x" * 999 + b"\r\n")
    assert (outcome.result, outcome.enhanced_code) == (Result.FAILED, "5.3.4")
    # The report may name the server, but must not claim that the server gave this answer (RFC 3464 section 2.3.6).
    assert (outcome.host, outcome.own) == (smtp_sink.host, True)
    assert "MAIL" not in smtp_sink.sessions[0].verbs
    assert (await by_sink.deliver_one(content=b"x" * 998 + b"\r\n")).result is Result.DELIVERED


# The answer after the content, and its absence


@pytest.mark.parametrize("ending", [Close(), Reset()], ids=["closed", "reset"])
async def test_a_connection_lost_after_the_dot_is_a_possible_duplicate(
    by_sink: Gateway, smtp_sink: SmtpSink, ending: Close | Reset
) -> None:
    """Case C120 of docs/cases.md describes this behaviour."""
    smtp_sink.on(Stage.END_OF_DATA, ending)
    outcome = await by_sink.deliver_one()
    assert (outcome.result, outcome.possible_duplicate) == (Result.DEFERRED, True)
    await smtp_sink.sessions_ended(1)
    assert len(smtp_sink.sessions) == 1


async def test_an_answer_after_our_time_out_changes_nothing(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """Cases C120 and C121 of docs/cases.md describe this behaviour."""
    by_sink.times_out(end_of_data=0.3)
    gate = smtp_sink.hold(Stage.END_OF_DATA, times=1)
    outcome = await by_sink.deliver_one()
    assert (outcome.result, outcome.possible_duplicate) == (Result.DEFERRED, True)
    gate.open()
    await smtp_sink.sessions_ended(1)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert len(smtp_sink.sessions) == 2


async def test_a_reply_may_arrive_in_two_packets(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """Case C120 of docs/cases.md describes this behaviour."""
    smtp_sink.on(Stage.END_OF_DATA, *in_packets("250-2.0.0 first\r\n2", "50 2.0", ".0 second\r", "\n"))
    outcome = await by_sink.deliver_one()
    assert (outcome.result, outcome.text) == (Result.DELIVERED, "2.0.0 first 2.0.0 second")


@PIPELINING
@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
async def test_after_a_time_out_a_session_is_never_used_again(
    by_sink: Gateway, smtp_sink: SmtpSink, stage: Stage, pipelining: bool
) -> None:
    """C121: otherwise relay would mistake an answer that comes too late for the answer to the next message."""
    offer(smtp_sink, pipelining=pipelining)
    by_sink.times_out(mail=0.3, rcpt=0.3, data=0.3)
    gate = smtp_sink.hold(stage, times=1)
    outcome = await by_sink.deliver_one()
    assert (outcome.result, outcome.possible_duplicate) == (Result.DEFERRED, False)
    gate.open()
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert len(smtp_sink.sessions) == 2
    assert len(smtp_sink.messages) == 1


@PIPELINING
async def test_an_acceptance_after_our_time_out_is_only_a_possible_duplicate(
    by_sink: Gateway, smtp_sink: SmtpSink, pipelining: bool
) -> None:
    """C120, C121: the server accepted the message, but its answer comes after relay has stopped waiting for it."""
    offer(smtp_sink, pipelining=pipelining)
    by_sink.times_out(end_of_data=0.3)
    gate = smtp_sink.hold(Stage.END_OF_DATA, times=1)
    outcome = await by_sink.deliver_one(content=b"Subject: first\r\n\r\n")
    assert (outcome.result, outcome.possible_duplicate, outcome.counts) == (Result.DEFERRED, True, True)
    # The next message is refused. Relay must not use the late answer to the first message for the second one.
    gate.open()
    smtp_sink.on(Stage.END_OF_DATA, reply("550 5.6.0 No"))
    refused = await by_sink.deliver_one(content=b"Subject: second\r\n\r\n")
    assert (refused.result, refused.possible_duplicate) == (Result.FAILED, False)
    assert len(smtp_sink.sessions) == 2


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.CONTENT])
async def test_a_connection_closed_before_the_dot_is_not_a_possible_duplicate(
    by_sink: Gateway, smtp_sink: SmtpSink, stage: Stage
) -> None:
    content = b"x" * 5_000_000 + b"\r\n"
    smtp_sink.on(stage, Close(), after_octets=1000 if stage is Stage.CONTENT else 0)
    outcome = await by_sink.deliver_one(content=content)
    assert (outcome.result, outcome.possible_duplicate) == (Result.DEFERRED, False)


async def test_a_refusal_within_the_content_is_used(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.CONTENT, reply("552 5.3.4 Enough"), Close(), after_octets=100_000)
    outcome = await by_sink.deliver_one(content=b"x" * 20_000_000 + b"\r\n")
    # When the server closes while content is unread, it resets the connection. The reset may arrive before the reply.
    assert (outcome.result, outcome.code) in ((Result.FAILED, 552), (Result.DEFERRED, 0))
    assert not outcome.possible_duplicate


async def test_a_session_whose_content_was_cut_short_is_not_used_again(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.CONTENT, reply("552 5.3.4 Enough"), after_octets=100_000, times=1)
    outcome = await by_sink.deliver_one(content=b"x" * 20_000_000 + b"\r\n")
    assert (outcome.result, outcome.code) == (Result.FAILED, 552)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert len(smtp_sink.sessions) == 2


async def test_an_acceptance_within_the_content_is_not_a_delivery(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.CONTENT, reply("250 2.0.0 Thanks, enough"), after_octets=100_000, times=1)
    outcome = await by_sink.deliver_one(content=b"x" * 20_000_000 + b"\r\n")
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.5.0")


async def test_recipients_refused_before_the_loss_stay_refused(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.RCPT, reply("550 5.1.1 No"), address=FIVE[0])
    smtp_sink.on(Stage.DATA, Close())
    outcomes = await by_sink.deliver(*FIVE[:2])
    assert [outcome.result for outcome in outcomes] == [Result.FAILED, Result.DEFERRED]


# The reply 421 (C122)


@PIPELINING
@pytest.mark.parametrize("stage", [Stage.RSET, Stage.MAIL])
async def test_421_on_a_reused_session_does_not_count_as_a_try(
    by_sink: Gateway, smtp_sink: SmtpSink, stage: Stage, pipelining: bool
) -> None:
    offer(smtp_sink, pipelining=pipelining)
    await by_sink.deliver_one()
    smtp_sink.on(stage, reply("421 4.4.2 Idle too long"), Close(), times=1)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert len(smtp_sink.sessions) == 2


@PIPELINING
async def test_a_session_with_enough_messages_is_replaced(
    by_sink: Gateway, smtp_sink: SmtpSink, pipelining: bool
) -> None:
    offer(smtp_sink, pipelining=pipelining)
    await by_sink.deliver_one()
    smtp_sink.on(Stage.MAIL, reply("452 4.5.3 Too many messages in this session"), session=1)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert len(smtp_sink.sessions) == 2
    # In a new session the same reply counts as a failed attempt.
    smtp_sink.on(Stage.MAIL, reply("452 4.3.1 Disk full"))
    outcome = await by_sink.deliver_one()
    assert (outcome.result, outcome.code, len(smtp_sink.sessions)) == (Result.DEFERRED, 452, 3)


async def test_an_unexpected_421_ends_an_idle_session(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.IDLE, reply("421 4.4.2 Idle too long"), times=1)
    await by_sink.deliver_one()
    await smtp_sink.sessions_ended(1)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert len(smtp_sink.sessions) == 2


async def test_a_closed_reused_session_does_not_count_as_a_try(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    await by_sink.deliver_one()
    smtp_sink.on(Stage.RSET, Close(), times=1)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED


@PIPELINING
@pytest.mark.parametrize(
    ("stage", "results"),
    [
        (Stage.CONNECT, [Result.DEFERRED] * 3),
        (Stage.EHLO, [Result.DEFERRED] * 3),
        (Stage.MAIL, [Result.DEFERRED] * 3),
        (Stage.RCPT, [Result.FAILED, Result.DEFERRED, Result.DEFERRED]),
        (Stage.DATA, [Result.FAILED, Result.DEFERRED, Result.DEFERRED]),
        (Stage.END_OF_DATA, [Result.FAILED, Result.DEFERRED, Result.DEFERRED]),
    ],
)
async def test_421_defers_the_remaining_recipients_and_closes(
    by_sink: Gateway, smtp_sink: SmtpSink, stage: Stage, results: list[Result], pipelining: bool
) -> None:
    offer(smtp_sink, pipelining=pipelining)
    smtp_sink.on(Stage.RCPT, reply("550 5.1.1 No"), address=FIVE[0])
    smtp_sink.on(stage, reply("421 4.3.2 Closing"), times=1, address=FIVE[1] if stage is Stage.RCPT else None)
    outcomes = await by_sink.deliver(*FIVE[:3])
    assert [outcome.result for outcome in outcomes] == results
    assert not any(outcome.possible_duplicate for outcome in outcomes)
    (session,) = await smtp_sink.sessions_ended(1)
    assert session.ending is not Ending.SERVER_CLOSED


# Replies that do not end or make no sense


@pytest.mark.parametrize(
    "octets", [b"250-and so on\r\n", b"x" * 1000, b"250" + b" " * 1000], ids=["lines", "no-line", "spaces"]
)
async def test_an_endless_reply_ends_the_session(by_sink: Gateway, smtp_sink: SmtpSink, octets: bytes) -> None:
    smtp_sink.on(Stage.MAIL, Endless(octets))
    outcome = await by_sink.deliver_one()
    assert outcome.result is Result.DEFERRED
    assert "reply" in outcome.text
    assert len(outcome.text) < 200


@pytest.mark.parametrize("nonsense", [b"hello\r\n", b"25\r\n", b"2500 ok\r\n", b"-50 ok\r\n", b"\r\n", b"250+ok\r\n"])
async def test_an_invalid_reply_closes_the_session(by_sink: Gateway, smtp_sink: SmtpSink, nonsense: bytes) -> None:
    smtp_sink.on(Stage.MAIL, *in_packets(nonsense), times=1)
    assert (await by_sink.deliver_one()).result is Result.DEFERRED
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert len(smtp_sink.sessions) == 2


async def test_a_long_reply_is_read_and_its_text_is_bounded(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.RCPT, reply(*(f"550-5.1.1 line {number}" for number in range(500)), "550 5.1.1 end"))
    outcome = await by_sink.deliver_one()
    assert (outcome.result, outcome.enhanced_code) == (Result.FAILED, "5.1.1")
    assert len(outcome.text) <= 2000


async def test_an_extra_reply_is_not_used_for_the_next_command(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """Case C121 of docs/cases.md describes this behaviour."""
    smtp_sink.on(Stage.END_OF_DATA, *in_packets(b"250 2.0.0 ok\r\n550 5.0.0 and now?\r\n"), times=1)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert len(smtp_sink.sessions) == 2


# Reuse of sessions


async def test_sessions_are_reused_up_to_the_limit(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    by_sink.configuration_is(queue=QueueSettings(max_messages_per_connection=3))
    for _ in range(7):
        assert (await by_sink.deliver_one()).result is Result.DELIVERED
    await smtp_sink.sessions_ended(2)
    assert [session.verbs.count("DATA") for session in smtp_sink.sessions] == [3, 3, 1]
    assert [session.verbs.count("RSET") for session in smtp_sink.sessions] == [2, 2, 0]
    assert smtp_sink.sessions[0].ending is Ending.QUIT


async def test_idle_sessions_are_closed(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    gateway.by_relay_host(smtp_sink)
    gateway.options_are(idle_seconds=0.05)
    await gateway.deliver_one()
    (session,) = await smtp_sink.sessions_ended(1)
    assert session.ending is Ending.QUIT


async def test_of_too_many_idle_sessions_the_oldest_is_closed(gateway: Gateway) -> None:
    gateway.options_are(max_idle_connections=2)
    with SmtpSink() as first, SmtpSink() as second, SmtpSink() as third:
        for sink in (first, second, first, third):
            gateway.by_relay_host(sink)
            assert (await gateway.deliver_one()).result is Result.DELIVERED
        (session,) = await second.sessions_ended(1)
        assert session.ending is Ending.QUIT
        gateway.by_relay_host(first)
        assert (await gateway.deliver_one()).result is Result.DELIVERED
        assert (len(first.sessions), len(third.sessions)) == (1, 1)


async def test_close_ends_idle_sessions_and_lets_running_ones_finish(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """Case C137 of docs/cases.md describes this behaviour."""
    await asyncio.gather(by_sink.deliver_one(), by_sink.deliver_one())
    gate = smtp_sink.hold(Stage.END_OF_DATA, times=1)
    running = asyncio.create_task(by_sink.deliver_one())
    await gate.reached()
    closing = asyncio.create_task(by_sink.transport.close(10))
    await smtp_sink.sessions_ended(1)
    assert not closing.done()
    gate.open()
    assert (await running).result is Result.DELIVERED
    await closing
    assert {session.ending for session in await smtp_sink.sessions_ended(2)} == {Ending.QUIT}


async def test_a_cancelled_delivery_leaves_no_session_behind(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    gate = smtp_sink.hold(Stage.RCPT, times=1)
    running = asyncio.create_task(by_sink.deliver_one())
    await gate.reached()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.open()
    await smtp_sink.sessions_ended(1)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED


async def test_many_recipients_go_in_several_transactions_over_one_session(
    gateway: Gateway, smtp_sink: SmtpSink
) -> None:
    gateway.by_relay_host(smtp_sink)
    gateway.options_are(max_recipients=2)
    outcomes = await gateway.deliver(*FIVE)
    assert {outcome.result for outcome in outcomes} == {Result.DELIVERED}
    assert [message.accepted_recipients for message in smtp_sink.messages] == [FIVE[:2], FIVE[2:4], FIVE[4:]]
    assert len(smtp_sink.sessions) == 1


async def test_relay_waits_for_a_slow_reader(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """C49: the time-out counts from the last progress."""
    gate = smtp_sink.hold(Stage.CONTENT)
    running = asyncio.create_task(by_sink.deliver_one(content=b"x" * 30_000_000 + b"\r\n"))
    await gate.reached()
    gate.open()
    assert (await running).result is Result.DELIVERED
    assert len(smtp_sink.messages[0].content) == 30_000_002


async def test_a_peer_that_reads_nothing_is_disconnected(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    by_sink.times_out(block=0.3)
    gate = smtp_sink.hold(Stage.CONTENT)
    outcome = await by_sink.deliver_one(content=b"x" * 30_000_000 + b"\r\n")
    assert (outcome.result, outcome.possible_duplicate) == (Result.DEFERRED, False)
    gate.open()


# More recipients than one transaction may have


@PIPELINING
async def test_recipients_beyond_the_limit_go_into_the_next_transaction(
    by_sink: Gateway, smtp_sink: SmtpSink, pipelining: bool
) -> None:
    """A server that refuses further recipients gets them in another transaction (RFC 5321 section 4.5.3.1.10)."""
    offer(smtp_sink, pipelining=pipelining)
    for address, answer in ((FIVE[2], "452 Many"), (FIVE[3], "452 4.5.3 Many"), (FIVE[4], "552 Too many recipients")):
        smtp_sink.on(Stage.RCPT, reply(answer), address=address, times=1)
    outcomes = await by_sink.deliver(*FIVE)
    assert {outcome.result for outcome in outcomes} == {Result.DELIVERED}
    assert [message.accepted_recipients for message in smtp_sink.messages] == [FIVE[:2], FIVE[2:4], FIVE[4:]]
    assert len(smtp_sink.sessions) == 1


@pytest.mark.parametrize(("limit", "named"), [(1, 40 + 39), (7, 40 + 33)])
async def test_f48_the_limit_of_a_server_is_learnt_from_its_reply(
    by_sink: Gateway, smtp_sink: SmtpSink, limit: int, named: int
) -> None:
    """F48: each recipient is refused at most once because of the limit, and the next message keeps to the limit from
    the start.
    """
    offer(smtp_sink, max_recipients=limit)
    recipients = [b"r%d@example.net" % number for number in range(40)]
    for total in (named, named + 40):
        outcomes = await by_sink.deliver(*recipients)
        assert {outcome.result for outcome in outcomes} == {Result.DELIVERED}
        assert [outcome.delivery_id for outcome in outcomes] == list(range(40))
        assert sum(session.verbs.count("RCPT") for session in smtp_sink.sessions) == total
    arrived = [recipient for message in smtp_sink.messages for recipient in message.accepted_recipients]
    assert sorted(arrived) == sorted(recipients * 2)


async def test_f48_many_transactions_continue_over_a_new_session(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    """F48: the session reaches its maximum number of messages before all recipients have had their transaction."""
    offer(smtp_sink, max_recipients=1)
    by_sink.configuration_is(queue=QueueSettings(max_messages_per_connection=3))
    outcomes = await by_sink.deliver(*[b"r%d@example.net" % number for number in range(10)])
    assert {outcome.result for outcome in outcomes} == {Result.DELIVERED}
    assert len(smtp_sink.messages) == 10
    assert len(smtp_sink.sessions) == 4


async def test_recipients_that_are_always_too_many_are_deferred(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.RCPT, reply("452 4.5.3 Too many recipients"), address=FIVE[1])
    outcomes = await by_sink.deliver(*FIVE[:2])
    assert [outcome.result for outcome in outcomes] == [Result.DELIVERED, Result.DEFERRED]
    assert len(smtp_sink.messages) == 1


# BDAT


@PIPELINING
@pytest.mark.parametrize("content", [CONTENT, b"", b".\r\n..\r\n", b"no end", b"x" * 3_000_000])
async def test_bdat_sends_the_unchanged_octets(
    gateway: Gateway, smtp_sink: SmtpSink, content: bytes, pipelining: bool
) -> None:
    """C49: BDAT sends the octets unchanged on reused sessions too."""
    offer(smtp_sink, chunking=True, pipelining=pipelining)
    gateway.by_relay_host(smtp_sink)
    gateway.options_are(chunking=True)
    for _ in range(2):
        assert (await gateway.deliver_one(content=content)).result is Result.DELIVERED
    assert [(message.via, message.content) for message in smtp_sink.messages] == [("BDAT", content)] * 2
    assert len(smtp_sink.sessions) == 1


async def test_bdat_is_not_used_by_default(by_sink: Gateway, smtp_sink: SmtpSink) -> None:
    offer(smtp_sink, chunking=True)
    assert (await by_sink.deliver_one()).result is Result.DELIVERED
    assert smtp_sink.messages[0].via == "DATA"


@PIPELINING
async def test_bdat_sends_no_content_without_an_accepted_recipient(
    gateway: Gateway, smtp_sink: SmtpSink, pipelining: bool
) -> None:
    """Case C118 of docs/cases.md describes this behaviour."""
    offer(smtp_sink, chunking=True, pipelining=pipelining)
    smtp_sink.on(Stage.RCPT, reply("550 5.1.1 No"), address=FIVE[0])
    gateway.by_relay_host(smtp_sink)
    gateway.options_are(chunking=True)
    assert (await gateway.deliver_one(FIVE[0])).result is Result.FAILED
    assert [outcome.result for outcome in await gateway.deliver(*FIVE[:2])] == [Result.FAILED, Result.DELIVERED]
    assert b"".join(smtp_sink.sessions[0].commands).count(b"BDAT") == 1
