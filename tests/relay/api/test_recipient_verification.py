"""Recipient verification asks the mailbox server whether a recipient exists. Answers are cached, and questions are
limited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.relay.api.recipient_verification import RecipientVerifier, Verification
from services.relay.clock import MICROSECONDS, Clock
from services.relay.configuration.model import (
    Configuration,
    ExistingRecipients,
    LocalDomain,
    Mailbox,
    MailboxKind,
)
from services.relay.delivery.recipient_question import ServerAnswer
from services.relay.model.attempt import Route
from services.relay.queue.database import Database, open_database
from tests.relay.scripted_transport import ScriptedTransport, failed
from tests.relay.whole_relay import WholeRelay

HOUR, WEEK = 3600.0, 7 * 24 * 3600.0
CLIENT = "192.0.2.9"
EXISTS, NONE, NO_ANSWER, TOO_MANY, MAILBOX_FULL = Verification


@dataclass
class Servers:
    """Mailbox servers that give the scripted answer. If a test sets a gate, each question waits until it is opened."""

    answer: ServerAnswer = ServerAnswer.YES
    gate: asyncio.Event | None = None
    asked: list[bytes] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def busy(self, number: int) -> None:
        """Waits until this number of questions is being answered at the same time."""
        while self.at_once < number:
            self.changed.clear()
            await self.changed.wait()

    async def ask_recipient(self, _: Configuration, route: Route, recipient: bytes) -> ServerAnswer:
        assert route.mailbox is not None
        self.asked.append(recipient)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.changed.set()
        if self.gate is not None:
            await self.gate.wait()
        self.at_once -= 1
        return self.answer


@dataclass
class Now:
    seconds: float = 1_800_000_000.0

    def clock(self) -> Clock:
        return Clock(lambda: int(self.seconds * MICROSECONDS), lambda: self.seconds)


def _configuration() -> Configuration:
    mailbox = Mailbox(MailboxKind.LMTP, "127.0.0.1", 24)
    domain = LocalDomain("l", "boxes.test", mailbox, recipients=ExistingRecipients.VERIFY)
    return Configuration(1, "gw.test", local_domains={"boxes.test": domain})


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = open_database(database_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def servers() -> Servers:
    return Servers()


@pytest.fixture
async def verifier(database: Database, now: Now, servers: Servers) -> AsyncIterator[RecipientVerifier]:
    made = RecipientVerifier(database, now.clock(), _configuration, servers)
    yield made
    await made.close()


async def test_a_positive_answer_holds_for_an_hour_and_a_negative_one_for_five_minutes(
    verifier: RecipientVerifier, servers: Servers, now: Now
) -> None:
    for answer, verification, seconds in (
        (ServerAnswer.YES, EXISTS, HOUR),
        (ServerAnswer.NO, NONE, 300),
    ):
        servers.answer = answer
        servers.asked.clear()
        address = f"{answer.value}@boxes.test".encode()
        assert await verifier.verify(address, CLIENT) is verification
        now.seconds += seconds - 1
        assert await verifier.verify(address.upper().replace(b"BOXES.TEST", b"boxes.test"), CLIENT) is verification
        assert len(servers.asked) == 1
        now.seconds += 1
        assert await verifier.verify(address, CLIENT) is verification
        assert len(servers.asked) == 2


async def test_without_an_answer_an_address_known_within_a_week_is_accepted(
    verifier: RecipientVerifier, servers: Servers, now: Now
) -> None:
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is EXISTS
    servers.answer = ServerAnswer.NONE
    assert await verifier.verify(b"new@boxes.test", CLIENT) is NO_ANSWER
    now.seconds += WEEK - 1
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is EXISTS
    now.seconds += 1
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is NO_ANSWER


async def test_a_negative_answer_replaces_an_earlier_positive_one(
    verifier: RecipientVerifier, servers: Servers, now: Now
) -> None:
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is EXISTS
    now.seconds += 2 * HOUR
    servers.answer = ServerAnswer.NO
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is NONE
    now.seconds += HOUR
    servers.answer = ServerAnswer.NONE
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is NO_ANSWER


async def test_a_full_mailbox_is_refused_while_it_is_full_and_not_remembered(
    verifier: RecipientVerifier, servers: Servers, now: Now
) -> None:
    """A recipient that existed before is refused, too, because mail that is accepted now would be bounced."""
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is EXISTS
    now.seconds += 2 * HOUR
    servers.answer = ServerAnswer.FULL
    for address in (b"ann@boxes.test", b"new@boxes.test"):
        assert await verifier.verify(address, CLIENT) is MAILBOX_FULL
    # In spite of the refusal, relay still remembers that the address existed.
    servers.answer = ServerAnswer.NONE
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is EXISTS
    servers.answer = ServerAnswer.YES
    assert await verifier.verify(b"new@boxes.test", CLIENT) is EXISTS


async def test_replicas_share_answers(
    verifier: RecipientVerifier, database: Database, servers: Servers, now: Now
) -> None:
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is EXISTS
    other = RecipientVerifier(database, now.clock(), _configuration, Servers(ServerAnswer.NO))
    assert await other.verify(b"ann@boxes.test", CLIENT) is EXISTS


async def test_simultaneous_requests_about_one_address_ask_its_server_once(
    verifier: RecipientVerifier, servers: Servers
) -> None:
    servers.gate = asyncio.Event()
    asking = [asyncio.create_task(verifier.verify(b"ann@boxes.test", f"192.0.2.{n}")) for n in range(10)]
    await servers.busy(1)
    # The first caller gives up; the others still get the answer.
    asking[0].cancel()
    servers.gate.set()
    assert set(await asyncio.gather(*asking[1:])) == {EXISTS}
    assert len(servers.asked) == 1


async def test_an_answer_that_came_while_a_question_was_counted_is_used(
    verifier: RecipientVerifier, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this, one of several simultaneous requests could ask the server a second time."""
    may_ask = verifier._may_ask
    counting, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(client: str, now: int) -> bool:
        if client == "late":
            counting.set()
            await go_on.wait()
        return await may_ask(client, now)

    monkeypatch.setattr(verifier, "_may_ask", slowly)
    late = asyncio.create_task(verifier.verify(b"ann@boxes.test", "late"))
    await counting.wait()
    assert await verifier.verify(b"ann@boxes.test", CLIENT) is EXISTS
    go_on.set()
    assert await late is EXISTS
    assert servers.asked == [b"ann@boxes.test"]


async def test_a_client_may_name_only_a_hundred_new_addresses_a_minute(
    verifier: RecipientVerifier, servers: Servers, now: Now
) -> None:
    now.seconds -= now.seconds % 60
    servers.answer = ServerAnswer.NO
    for number in range(100):
        assert await verifier.verify(b"%d@boxes.test" % number, CLIENT) is NONE
    assert await verifier.verify(b"100@boxes.test", CLIENT) is TOO_MANY
    # An answer from the cache needs no question, and other clients have a limit of their own.
    assert await verifier.verify(b"7@boxes.test", CLIENT) is NONE
    assert await verifier.verify(b"100@boxes.test", "192.0.2.10") is NONE
    now.seconds += 60
    assert await verifier.verify(b"101@boxes.test", CLIENT) is NONE


async def test_a_server_gets_at_most_twenty_questions_at_once_and_five_of_one_client(
    verifier: RecipientVerifier, servers: Servers
) -> None:
    servers.gate = asyncio.Event()
    greedy = [asyncio.create_task(verifier.verify(b"g%d@boxes.test" % n, CLIENT)) for n in range(30)]
    await servers.busy(5)
    others = [asyncio.create_task(verifier.verify(b"o%d@boxes.test" % n, f"192.0.2.{n}")) for n in range(10, 40)]
    await servers.busy(20)
    assert sum(address.startswith(b"g") for address in servers.asked) == 5
    servers.gate.set()
    assert set(await asyncio.gather(*greedy, *others)) == {EXISTS}
    assert servers.most_at_once == 20


async def test_an_address_whose_mail_was_refused_is_asked_about_again(database_url: str, tmp_path: Path) -> None:
    """A bounce removes the stored answer, so the next message is refused at RCPT. A refusal of the content says nothing
    about the address, so the answer stays.
    """
    transport = ScriptedTransport(
        {
            b"Full@boxes.test": [lambda to: replace(failed(to), code=552, enhanced_code="5.2.2")],
            b"gone@boxes.test": [failed],
            b"spam@boxes.test": [lambda to: replace(failed(to), code=554, enhanced_code="5.7.1")],
        }
    )
    async with WholeRelay(database_url, tmp_path, _configuration(), transport) as relay:
        for address in (b"Full@boxes.test", b"gone@boxes.test", b"spam@boxes.test", b"good@boxes.test"):
            assert await relay.relay.verifier.verify(address, CLIENT) is EXISTS
        await relay.submit(b"Full@boxes.test", b"gone@boxes.test", b"spam@boxes.test", b"good@boxes.test")
        # The two transactions are that of the message, and that of the report about the refused recipients.
        await relay.settled(2)
        kept = await relay.rows("SELECT recipient FROM recipient_answers ORDER BY recipient")
        assert [bytes(recipient) for (recipient,) in kept] == [b"good@boxes.test", b"spam@boxes.test"]
