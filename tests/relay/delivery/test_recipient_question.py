"""Relay asks a mailbox server whether a recipient exists. The tests check which answers mean yes, no, or neither."""

from __future__ import annotations

import pytest

from services.relay.configuration.model import ExistingRecipients, LocalDomain, Mailbox, MailboxKind, RelayDomain
from services.relay.delivery.recipient_question import ServerAnswer
from tests.peers.ports import free_port
from tests.peers.smtp_script import Stage, reply
from tests.peers.smtp_sink import Offer, SmtpSink
from tests.relay.delivery.conftest import Gateway

BOB = b"bob@boxes.test"


def _before(gateway: Gateway, host: str, port: int, kind: MailboxKind = MailboxKind.SMTP) -> None:
    domain = LocalDomain("l", "boxes.test", Mailbox(kind, host, port), recipients=ExistingRecipients.VERIFY)
    gateway.configuration_is(local_domains={"boxes.test": domain})


async def _ask(gateway: Gateway, recipient: bytes = BOB) -> ServerAnswer:
    route = gateway.route(b"", recipient)
    return await gateway.transport.ask_recipient(gateway.configuration, route, recipient)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("250 2.1.5 Ok", ServerAnswer.YES),
        ("251 Will forward", ServerAnswer.YES),
        ("550 5.1.1 No such user", ServerAnswer.NO),
        ("550 Unknown user", ServerAnswer.NO),
        ("553 5.1.10 Null MX", ServerAnswer.NO),
        ("450 4.2.0 Greylisted", ServerAnswer.NONE),
        ("451 4.3.0 Later", ServerAnswer.NONE),
        ("552 5.2.2 Mailbox full", ServerAnswer.FULL),
        ("550 5.2.2 Mailbox full", ServerAnswer.FULL),
        ("452 4.2.2 Mailbox full for now", ServerAnswer.NONE),
        ("552 5.2.3 Too long", ServerAnswer.NONE),
        ("550 5.7.1 Go away", ServerAnswer.NONE),
        ("530 5.7.0 Log in first", ServerAnswer.NONE),
        ("452 4.5.3 Too many", ServerAnswer.NONE),
    ],
)
async def test_the_reply_to_rcpt_decides_whether_a_recipient_exists(
    gateway: Gateway, smtp_sink: SmtpSink, answer: str, expected: ServerAnswer
) -> None:
    _before(gateway, smtp_sink.host, smtp_sink.port)
    smtp_sink.on(Stage.RCPT, reply(answer))
    assert await _ask(gateway) is expected
    assert not smtp_sink.messages


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.EHLO, Stage.MAIL])
async def test_a_refusal_of_the_session_or_of_the_null_sender_gives_no_answer(
    gateway: Gateway, smtp_sink: SmtpSink, stage: Stage
) -> None:
    _before(gateway, smtp_sink.host, smtp_sink.port)
    smtp_sink.on(stage, reply("554 5.7.1 No"))
    assert await _ask(gateway) is ServerAnswer.NONE


async def test_a_server_that_does_not_run_gives_no_answer(gateway: Gateway) -> None:
    _before(gateway, "127.0.0.1", free_port())
    assert await _ask(gateway) is ServerAnswer.NONE


async def test_an_lmtp_server_is_asked_in_the_same_way(gateway: Gateway) -> None:
    with SmtpSink(Offer(lmtp=True)) as sink:
        _before(gateway, sink.host, sink.port, MailboxKind.LMTP)
        sink.on(Stage.RCPT, reply("550 5.1.1 Nobody"), address="nobody@boxes.test")
        assert await _ask(gateway) is ServerAnswer.YES
        assert await _ask(gateway, b"nobody@boxes.test") is ServerAnswer.NO


@pytest.mark.parametrize("kind", [MailboxKind.SMTP, MailboxKind.LMTP])
async def test_the_next_hop_of_a_relay_domain_is_asked(gateway: Gateway, kind: MailboxKind) -> None:
    with SmtpSink(Offer(lmtp=kind is MailboxKind.LMTP)) as sink:
        next_hop = Mailbox(kind, sink.host, sink.port)
        gateway.configuration_is(relay_domains={"boxes.test": RelayDomain("r", "boxes.test", next_hop)})
        sink.on(Stage.RCPT, reply("550 5.1.1 Nobody"), address="nobody@boxes.test")
        assert await _ask(gateway) is ServerAnswer.YES
        assert await _ask(gateway, b"nobody@boxes.test") is ServerAnswer.NO


async def test_no_server_of_others_is_ever_asked(gateway: Gateway) -> None:
    """Relay asks no server for a recipient whose domain the operator has not configured."""
    assert await _ask(gateway, b"bob@far.test") is ServerAnswer.NONE
