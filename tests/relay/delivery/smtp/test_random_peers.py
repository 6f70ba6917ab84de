"""However a next hop misbehaves, every recipient has an outcome that agrees with what the next hop did."""

from __future__ import annotations

import random

import pytest

from services.relay.configuration.model import Mailbox, MailboxKind
from services.relay.model.attempt import Outcome, Result
from tests.peers.smtp_sink import Close, Offer, Reset, Send, SmtpSink, Stage, Transaction, reply
from tests.relay.delivery.conftest import Gateway, MxHosts

RECIPIENTS = [f"r{number}@local.test".encode() for number in range(4)]
STAGES = [
    Stage.CONNECT, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA, Stage.RSET, Stage.CONTENT,
    Stage.IDLE,
]  # fmt: skip
CODES = [200, 220, 250, 251, 299, 354, 399, 421, 450, 451, 452, 454, 499, 500, 503, 550, 552, 554, 599, 601, 100]
NONSENSE = [b"\r\n", b"x\r\n", b"250", b"25 0 ok\r\n", b"250-a\r\n250-b\r\n", b"\xff\xfe\r\n", b"99999 x\r\n"]


def misbehave(sink: SmtpSink, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        stage = rng.choice(STAGES)
        # In the middle of the content only refusals are sent. When all octets arrive at once, the client could not tell
        # an acceptance in the middle from the acceptance at the end.
        code = rng.choice([421, 451, 552] if stage is Stage.CONTENT else CODES)
        answer = reply(f"{code} {rng.choice(['', '4.5.3 ', '5.1.1 ', '2.0.0 '])}said")
        steps = {
            "reply": (answer,),
            "reply and close": (answer, Close()),
            "close": (Close(),),
            "reset": (Reset(),),
            # After octets that are no complete reply the sink closes the connection, so the client does not wait for
            # the rest of the reply.
            "nonsense": (Send(rng.choice(NONSENSE)), Close()),
        }[rng.choice(["reply", "reply", "reply and close", "close", "reset", "nonsense"])]
        if stage in (Stage.IDLE, Stage.CONTENT) and not isinstance(steps[-1], Close):
            # The server closes here. If it refused in the middle and accepted at the end, the client could not tell
            # which of the two answers belongs to the message.
            steps = (*steps, Close())
        address = rng.choice(RECIPIENTS) if stage is Stage.RCPT and rng.random() < 0.7 else None
        times = rng.choice([1, 1, 2, None])
        sink.on(stage, *steps, address=address, times=times, after_octets=rng.choice([0, 500, 100_000]))


def check(outcomes: list[Outcome], transactions: list[Transaction]) -> None:
    """Checks that each recipient has at most one copy: exactly one if its outcome is delivered, and otherwise none
    unless its outcome is marked as a possible duplicate.
    """
    for outcome, address in zip(outcomes, RECIPIENTS, strict=True):
        copies = sum(
            (recipient.final_code if transaction.via and recipient.final_code is not None else transaction.code)
            in _TAKEN
            for transaction in transactions
            for recipient in transaction.recipients
            if recipient.address == address and recipient.accepted and transaction.complete
        )
        assert copies <= 1, (outcome, copies)
        if outcome.result is Result.DELIVERED:
            assert copies == 1, outcome
        else:
            assert copies == 0 or outcome.possible_duplicate, outcome
        assert outcome.counts
        assert outcome.text.isprintable()


_TAKEN = range(200, 300)


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@pytest.mark.parametrize("seed", range(12))
async def test_outcomes_match_the_behaviour_of_the_peer(gateway: Gateway, lmtp: bool, seed: int) -> None:
    rng = random.Random(seed)
    with SmtpSink() as sink:
        kind = MailboxKind.LMTP if lmtp else MailboxKind.SMTP
        gateway.into_mailbox("local.test", Mailbox(kind, sink.host, sink.port), *(f"r{number}" for number in range(4)))
        gateway.options_are(chunking=rng.random() < 0.5)
        for _ in range(25):
            sink.clear()
            sink.offer = Offer(lmtp=lmtp, pipelining=rng.random() < 0.6, chunking=rng.random() < 0.5)
            misbehave(sink, rng)
            content = b"Subject: x\r\n\r\n" + b"y" * rng.choice([10, 1000, 300_000]) + b"\r\n"
            outcomes = list(await gateway.deliver(*RECIPIENTS, content=content))
            assert [outcome.delivery_id for outcome in outcomes] == [0, 1, 2, 3]
            # The sink's record is complete only when no session is open any more.
            gateway.transport._pool.close()
            gateway.transport._pool._closed = False
            await sink.sessions_ended(len(sink.sessions))
            check(outcomes, sink.transactions)
        sink.clear()
        assert {outcome.result for outcome in await gateway.deliver(*RECIPIENTS)} == {Result.DELIVERED}


@pytest.mark.parametrize("seed", range(6))
async def test_no_message_is_given_to_two_hosts(gateway: Gateway, mx_hosts: MxHosts, seed: int) -> None:
    rng = random.Random(1000 + seed)
    sinks = [mx_hosts.add("local.test", preference, f"h{preference}.test") for preference in (1, 2)]
    for number in range(25):
        for sink in sinks:
            sink.clear()
            sink.offer = Offer(pipelining=rng.random() < 0.6)
            misbehave(sink, rng)
        # With a new hostname, relay does not use a session of the round before again.
        gateway.configuration_is(hostname=f"n{number}.posthouse.test")
        outcomes = list(await gateway.deliver(*RECIPIENTS))
        gateway.transport._pool.close()
        gateway.transport._pool._closed = False
        for sink in sinks:
            await sink.sessions_ended(len(sink.sessions))
        check(outcomes, [transaction for sink in sinks for transaction in sink.transactions])
