"""No destination or source delays another: memory, claims and slots are shared."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.relay.model.message import Origin
from services.relay.model.states import FOREVER, State
from services.relay.queue.destinations import Suspension
from tests.relay.scripted_transport import ScriptedTransport, deferred, delivered
from tests.relay.whole_relay import WholeRelay

MUTE = "domain:mute.test"


def account(login: str) -> Origin:
    return Origin("s1", "192.0.2.9", b"client.test", login, "submission", may_relay=True)


def muted(count: int, domain: bytes = b"mute.test") -> tuple[list[bytes], dict[bytes, asyncio.Event]]:
    """Makes recipients whose transactions do not end before the event is set.

    Returns the recipients and their events.
    """
    gate = asyncio.Event()
    recipients = [b"u%d@%b" % (number, domain) for number in range(count)]
    return recipients, dict.fromkeys(recipients, gate)


async def test_a_silent_destination_leaves_memory_to_others_and_keeps_its_order(
    database_url: str, tmp_path: Path
) -> None:
    recipients, gates = muted(120)
    transport = ScriptedTransport({b"later@live.test": [deferred, delivered]}, {MUTE: 1}, gates)
    async with WholeRelay(database_url, tmp_path, transport=transport, backlog=40) as relay:
        for recipient in recipients:
            await relay.submit(recipient)
        await transport.until_begun(1)
        memory = relay.relay.memory
        assert memory.deliveries <= 40 * 2 / 3
        # New mail for other destinations is tried at once, and deferred mail as soon as it is due.
        await relay.submit(b"later@live.test")
        await relay.settled(1)
        await relay.after(400)
        await relay.settled(2)
        assert [each.recipients[0] for each in transport.ended] == [b"later@live.test"] * 2
        gates[recipients[0]].set()
        await relay.settled(122)
        assert [each.recipients[0] for each in transport.begun if each.destination == MUTE] == recipients
        assert (memory.deliveries, memory.octets) == (0, 0)
        assert (memory.by_destination, memory.by_source, memory.by_pair) == ({}, {}, {})


async def test_order_is_kept_where_mail_waits_in_memory_and_in_the_database(database_url: str, tmp_path: Path) -> None:
    gate = asyncio.Event()
    recipients = [b"u%d@one.test" % number for number in range(60)]
    transport = ScriptedTransport(capacities={"domain:one.test": 1}, gates={recipients[0]: gate})
    async with WholeRelay(database_url, tmp_path, transport=transport, backlog=12) as relay:
        for recipient in recipients[:40]:
            await relay.submit(recipient)
        gate.set()
        # New mail arrives while older mail still waits in the database.
        for recipient in recipients[40:]:
            await relay.submit(recipient)
        await relay.settled(60)
        assert [each.recipients[0] for each in transport.begun] == recipients


async def test_many_messages_of_one_account_do_not_hold_back_another_accounts_single_one(
    database_url: str, tmp_path: Path
) -> None:
    """Both accounts use the same next hop, with one transaction at a time. The single message comes second or third."""
    gate = asyncio.Event()
    recipients = [b"u%d@one.test" % number for number in range(80)]
    transport = ScriptedTransport(capacities={"domain:one.test": 1}, gates={recipients[0]: gate})
    async with WholeRelay(database_url, tmp_path, transport=transport, backlog=30) as relay:
        for recipient in recipients:
            await relay.submit(recipient, origin=account("bulk"))
        await relay.submit(b"single@one.test", origin=account("other"))
        gate.set()
        await relay.settled(81)
        order = [each.recipients[0] for each in transport.begun]
        assert order.index(b"single@one.test") <= 2
        order.remove(b"single@one.test")
        assert order == recipients


async def test_mail_of_one_account_in_the_database_does_not_wait_for_all_mail_of_another(
    database_url: str, tmp_path: Path
) -> None:
    transport = ScriptedTransport(capacities={"domain:one.test": 1})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        await relay.relay.suspensions.suspend(Suspension("domain:one.test", FOREVER, "anna"))
        recipients = [b"u%d@one.test" % number for number in range(100)]
        for recipient in recipients:
            await relay.submit(recipient, origin=account("bulk"))
        for number in range(3):
            await relay.submit(b"single%d@one.test" % number, origin=account(f"other{number}"))
        await relay.committed()
        await relay.relay.suspensions.resume("domain:one.test")
        relay.relay.dispatcher.wake()
        await relay.settled(103)
        order = [each.recipients[0] for each in transport.begun]
        # The sources take turns, one message each.
        assert max(order.index(b"single%d@one.test" % number) for number in range(3)) <= 4
        assert [each for each in order if each.startswith(b"u")] == recipients


async def test_silent_destinations_of_one_account_leave_slots_to_others(database_url: str, tmp_path: Path) -> None:
    gate = asyncio.Event()
    recipients = [b"u@mute%d.test" % number for number in range(40)]
    transport = ScriptedTransport(gates=dict.fromkeys(recipients, gate))
    async with WholeRelay(database_url, tmp_path, transport=transport, concurrency=10) as relay:
        for recipient in recipients:
            await relay.submit(recipient, origin=account("bulk"))
        await transport.until_begun(8)
        await relay.submit(b"u@live.test", origin=account("other"))
        await relay.settled(1)
        assert len(transport.begun) == 9
        gate.set()
        await relay.settled(41)


async def test_a_destination_over_its_share_gives_deliveries_back_when_others_wait(
    database_url: str, tmp_path: Path
) -> None:
    """Early destinations use all the memory that they may use. Each later one still gets a place, and order is kept."""
    gate = asyncio.Event()
    domains = [b"mute%d.test" % number for number in range(8)]
    recipients = {domain: [b"u%d@%b" % (number, domain) for number in range(15)] for domain in domains}
    gates = {recipient: gate for group in recipients.values() for recipient in group}
    transport = ScriptedTransport(capacities={f"domain:{each.decode()}": 1 for each in domains}, gates=gates)
    async with WholeRelay(database_url, tmp_path, transport=transport, backlog=20) as relay:
        for number, domain in enumerate(domains):
            for recipient in recipients[domain]:
                await relay.submit(recipient, origin=account(f"a{number}"))
        await transport.until_begun(8)
        assert {each.recipients[0] for each in transport.begun} == {group[0] for group in recipients.values()}
        assert relay.relay.memory.deliveries <= 20
        gate.set()
        await relay.settled(8 * 15)
        for domain in domains:
            order = [each.recipients[0] for each in transport.begun if each.destination == f"domain:{domain.decode()}"]
            assert order == recipients[domain]
        assert await relay.rows("SELECT state, count(*) FROM deliveries GROUP BY state") == [(State.DELIVERED, 120)]


async def test_large_messages_are_read_from_the_database_only_while_memory_is_free(
    database_url: str, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    recipients = [b"u%d@one.test" % number for number in range(10)]
    transport = ScriptedTransport(gates=dict.fromkeys(recipients, gate))
    content = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 25_000
    async with WholeRelay(database_url, tmp_path, transport=transport, memory_mb=8) as relay:
        await relay.relay.suspensions.suspend(Suspension("domain:one.test", FOREVER, "anna"))
        for recipient in recipients:
            await relay.submit(recipient, content=content)
        await relay.committed()
        await relay.relay.suspensions.resume("domain:one.test")
        relay.relay.dispatcher.wake()
        await transport.until_begun(2)
        # Messages that wait for memory do not delay other mail.
        await relay.submit(b"u@two.test")
        await relay.settled(1)
        assert len(transport.begun) <= 4
        assert relay.relay.memory.octets <= 8 * 1024 * 1024
        gate.set()
        await relay.settled(11)
        assert relay.relay.memory.octets == 0


async def test_a_content_larger_than_the_memory_is_delivered_alone(database_url: str, tmp_path: Path) -> None:
    content = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 110_000
    async with WholeRelay(database_url, tmp_path, memory_mb=8) as relay:
        await relay.submit(b"u@one.test", content=content)
        await relay.settled(1)
        assert relay.transport.ended[0].content == content
