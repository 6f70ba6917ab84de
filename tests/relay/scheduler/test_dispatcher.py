"""A message passes through relay's own parts: it is submitted, committed, tried, settled and reported."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from services.relay.clock import MICROSECONDS
from services.relay.configuration.model import (
    Alias,
    Configuration,
    LocalDomain,
    Mailbox,
    MailboxKind,
    RelayHost,
    RelayHostAuth,
)
from services.relay.intake.intake import Result
from services.relay.model.attempt import Outcome, OutgoingRecipient
from services.relay.model.states import FOREVER, State
from services.relay.queue.destinations import Suspension
from services.relay.routing.recipients import SubmittedRecipient
from services.relay.scheduler import dispatcher
from tests.relay.scripted_transport import ScriptedTransport, deferred, delivered, failed
from tests.relay.whole_relay import CONTENT, WholeRelay


async def test_a_message_is_stored_and_delivered_from_memory(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        ack = await relay.submit(b"u@one.test")
        assert ack.result is Result.STORED
        await relay.settled(1)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}
        assert relay.transport.ended[0].content == CONTENT
        assert await relay.rows("SELECT count(*) FROM contents") == [(0,)]
        assert await relay.rows("SELECT open, finished_at IS NOT NULL FROM messages") == [(0, True)]


async def test_only_a_deferred_recipient_is_tried_again(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"no@one.test": [failed], b"later@one.test": [deferred, delivered]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"yes@one.test", b"no@one.test", b"later@one.test")
        # Two transactions end: that of the message, and that of the report about the refused recipient.
        await relay.settled(2)
        assert await relay.states(ack.queue_id) == {
            b"yes@one.test": State.DELIVERED,
            b"no@one.test": State.BOUNCED,
            b"later@one.test": State.QUEUED,
        }
        await relay.after(301 * 1.1)
        await relay.settled(3)
        assert (await relay.states(ack.queue_id))[b"later@one.test"] == State.DELIVERED
        assert len(transport.to(b"yes@one.test")) == 1
        assert transport.ended[2].recipients == (b"later@one.test",)
        report = transport.to(b"a@sender.test")[0]
        assert report.sender == b""
        assert b"Final-Recipient: rfc822; no@one.test\r\n" in report.content


async def test_the_same_submission_twice_is_one_message(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        first = await relay.submit(b"u@one.test", submission_id="7" * 32)
        again = await relay.submit(b"u@one.test", submission_id="7" * 32)
        await relay.settled(1)
        assert again.result is Result.STORED
        assert again.queue_id == first.queue_id
        await relay.committed()
        assert len(relay.transport.begun) == 1
        assert relay.relay.memory.deliveries == 0
        assert relay.relay.memory.octets == 0


async def test_an_exact_recipient_named_twice_gets_one_copy(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        await relay.submit(b"u@one.test", b"u@one.test", b"U@one.test")
        await relay.settled(1)
        assert relay.transport.ended[0].recipients == (b"u@one.test", b"U@one.test")


async def test_the_route_is_resolved_anew_at_each_attempt(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred, delivered]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        relay.configure(Configuration(2, "gw.test", relay_host=RelayHost("smart.test")))
        await relay.after(400)
        await relay.settled(2)
        assert [each.destination for each in transport.ended] == ["domain:one.test", "relay:smart.test:25"]
        (row,) = (await relay.message(ack.queue_id)).deliveries
        assert row.destination == "relay:smart.test:25"
        assert row.state == State.DELIVERED


async def test_mail_without_a_route_waits_for_another_configuration(database_url: str, tmp_path: Path) -> None:
    without = Configuration(1, "gw.test", local_domains={"local.test": LocalDomain("d1", "local.test", None)})
    mailbox = Mailbox(MailboxKind.SMTP, "store.test", 25)
    with_one = Configuration(
        2,
        "gw.test",
        local_domains={"local.test": LocalDomain("d1", "local.test", mailbox)},
        account_addresses=frozenset((b"u@local.test",)),
    )
    async with WholeRelay(database_url, tmp_path, without) as relay:
        ack = await relay.submit(b"u@local.test")
        while (row := (await relay.message(ack.queue_id)).deliveries[0]).lease_owner is not None:
            await relay.committed()
        assert (row.state, row.due_at, row.destination) == (State.QUEUED, None, "hold")
        assert row.last_reply == "the local domain local.test has no mailbox"
        relay.configure(with_one)
        await relay.settled(1)
        assert relay.transport.ended[0].destination == "mailbox:local.test"


async def test_held_mail_goes_to_the_new_targets_of_its_address(database_url: str, tmp_path: Path) -> None:
    """C138: the postmasters are configured, or the alias is created, after the mail was received."""
    mailbox = Mailbox(MailboxKind.SMTP, "store.test", 25)
    domains = {"local.test": LocalDomain("d1", "local.test", mailbox)}
    named = (b"chief@far.test", b"postmaster@local.test")
    first = Configuration(1, "gw.test", local_domains=domains, account_addresses=frozenset((b"u@local.test",)))
    async with WholeRelay(database_url, tmp_path, first) as relay:
        roles = (b"postmaster@local.test", b"mailer-daemon@local.test")
        ack = await relay.submit(
            *roles, SubmittedRecipient(b"u@local.test"), sender=b"b@sender.test", envelope_id=b"e1"
        )
        await relay.settled(1)
        # Mail for one of the postmasters would be held again. Therefore the delivery stays as it is, so that the other
        # postmaster does not get the mail twice.
        relay.configure(replace(first, revision=2, external_postmasters=named))
        async with asyncio.timeout(60):
            while await relay.rows("SELECT count(*) FROM attempts") < [(4,)]:
                await relay.committed()
        assert relay.transport.ended[1:] == []
        aliases = {roles[1]: Alias("a1", roles[1], (b"x@one.test",))}
        relay.configure(replace(first, revision=3, aliases=aliases))
        await relay.settled(2)
        external = (b"chief@far.test", b"deputy@far.test")
        relay.configure(replace(first, revision=4, external_postmasters=external))
        await relay.settled(3)
        assert [(one.sender, one.recipients, one.content) for one in relay.transport.ended[1:]] == [
            (b"b@sender.test", (b"x@one.test",), CONTENT),
            (b"b@sender.test", external, CONTENT),
        ]
        assert await relay.states(ack.queue_id) == {
            b"u@local.test": State.DELIVERED,
            **dict.fromkeys(roles, State.EXPANDED),
        }
        given_on = await relay.message(relay.transport.ended[1].queue_id)
        assert [
            (delivery.recipient, delivery.submitted_recipient, delivery.state) for delivery in given_on.deliveries
        ] == [(b"x@one.test", roles[1], State.DELIVERED)]


async def test_aliases_are_replaced_by_targets_and_recorded_as_expanded(database_url: str, tmp_path: Path) -> None:
    aliases = {b"all@local.test": Alias("a1", b"all@local.test", (b"x@one.test", b"y@two.test"))}
    async with WholeRelay(database_url, tmp_path, Configuration(1, "gw.test", aliases=aliases)) as relay:
        ack = await relay.submit(b"All@local.test")
        await relay.settled(2)
        assert await relay.states(ack.queue_id) == {
            b"All@local.test": State.EXPANDED,
            b"x@one.test": State.DELIVERED,
            b"y@two.test": State.DELIVERED,
        }


async def test_an_alias_loop_is_accepted_and_returned(database_url: str, tmp_path: Path) -> None:
    aliases = {
        b"a@local.test": Alias("a1", b"a@local.test", (b"b@local.test",)),
        b"b@local.test": Alias("a2", b"b@local.test", (b"a@local.test",)),
    }
    async with WholeRelay(database_url, tmp_path, Configuration(1, "gw.test", aliases=aliases)) as relay:
        ack = await relay.submit(b"a@local.test")
        await relay.settled(1)
        assert ack.result is Result.STORED
        assert await relay.states(ack.queue_id) == {b"a@local.test": State.BOUNCED}
        assert b"Status: 5.4.6\r\n" in relay.transport.to(b"a@sender.test")[0].content


async def test_discarded_recipients_are_recorded_and_get_no_mail(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        gone = SubmittedRecipient(b"gone@one.test", discarded=True, discard_reason="blocked", discard_rule_id="r1")
        ack = await relay.submit(gone, b"u@one.test")
        await relay.settled(1)
        assert await relay.states(ack.queue_id) == {b"gone@one.test": State.DISCARDED, b"u@one.test": State.DELIVERED}
        assert relay.transport.ended[0].recipients == (b"u@one.test",)
        alone = await relay.submit(gone)
        assert alone.result is Result.STORED
        assert await relay.rows("SELECT count(*) FROM contents") == [(0,)]


async def test_no_more_transactions_run_than_the_transport_allows(database_url: str, tmp_path: Path) -> None:
    gate = asyncio.Event()
    gates = {b"u%d@one.test" % number: gate for number in range(10)}
    transport = ScriptedTransport(capacities={"domain:one.test": 2}, gates=gates)
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        for recipient in gates:
            await relay.submit(recipient)
        await transport.until_begun(2)
        gate.set()
        await relay.settled(10)
        assert transport.most_at_once == {"domain:one.test": 2}


async def test_a_dead_destination_does_not_use_the_memory_of_others(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport(capacities={"domain:dead.test": 0})
    async with WholeRelay(database_url, tmp_path, transport=transport, backlog=5) as relay:
        for number in range(8):
            await relay.submit(b"u%d@dead.test" % number)
        await relay.submit(b"u@live.test")
        await relay.settled(1)
        assert transport.ended[0].recipients == (b"u@live.test",)
        transport.capacities.clear()
        await relay.after(10)
        await relay.settled(9)
        await relay.committed()
        assert await relay.rows("SELECT state, count(*) FROM deliveries GROUP BY state") == [(State.DELIVERED, 9)]


async def test_more_mail_than_memory_holds_waits_in_the_database_and_all_of_it_arrives(
    database_url: str, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    transport = ScriptedTransport(gates={b"u0@one.test": gate})
    async with WholeRelay(database_url, tmp_path, transport=transport, backlog=4) as relay:
        for number in range(40):
            await relay.submit(b"u%d@one.test" % number)
        gate.set()
        await relay.settled(40)
        assert sorted(each.recipients[0] for each in transport.ended) == sorted(
            b"u%d@one.test" % number for number in range(40)
        )
        assert relay.relay.memory.octets == 0


async def test_at_shutdown_transactions_end_and_other_leases_are_given_up(database_url: str, tmp_path: Path) -> None:
    gate = asyncio.Event()
    transport = ScriptedTransport(gates={b"u0@one.test": gate}, capacities={"domain:one.test": 1})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        acks = [await relay.submit(b"u%d@one.test" % number) for number in range(3)]
        await transport.until_begun(1)
        closing = asyncio.create_task(relay.relay.dispatcher.stop(20))
        await asyncio.sleep(0)
        gate.set()
        await closing
        await relay.relay.committer.drained()
        rows = [(await relay.message(ack.queue_id)).deliveries[0] for ack in acks]
        assert [row.state for row in rows] == [State.DELIVERED, State.QUEUED, State.QUEUED]
        assert [row.lease_owner for row in rows] == [None, None, None]
        assert [row.possible_duplicate for row in rows] == [False, False, False]


async def test_after_a_shutdown_recipients_that_have_the_message_get_no_second_copy(
    database_url: str, tmp_path: Path
) -> None:
    """C119: relay commits the outcomes that it knows before it begins the next transactions."""
    recipients = [b"u%03d@one.test" % number for number in range(250)]
    transport = ScriptedTransport(gates={recipients[120]: asyncio.Event()})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(*recipients)
        await transport.until_begun(2)
        await relay.committed()
        delivered_so_far = [
            name for name, state in (await relay.states(ack.queue_id)).items() if state == State.DELIVERED
        ]
        assert sorted(delivered_so_far) == recipients[:100]
        await relay.relay.dispatcher.stop(0)
        await relay.relay.committer.drained()
        rows = sorted((await relay.message(ack.queue_id)).deliveries, key=lambda row: row.recipient)
        assert [row.state for row in rows] == [State.DELIVERED] * 100 + [State.QUEUED] * 150
        assert [bool(row.possible_duplicate) for row in rows] == [False] * 100 + [True] * 100 + [False] * 50
        assert {row.lease_owner for row in rows} == {None}


async def test_a_transaction_cancelled_at_shutdown_is_marked_and_not_counted(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport(gates={b"u@one.test": asyncio.Event()})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await transport.until_begun(1)
        await relay.relay.dispatcher.stop(0)
        await relay.relay.committer.drained()
        (row,) = (await relay.message(ack.queue_id)).deliveries
        assert (row.state, row.lease_owner, row.attempts) == (State.QUEUED, None, 0)
        assert row.possible_duplicate


async def test_mail_of_a_suspended_destination_follows_a_new_configuration(database_url: str, tmp_path: Path) -> None:
    old = Configuration(1, "gw.test", relay_host=RelayHost("old.test"))
    transport = ScriptedTransport({b"u@one.test": [deferred, delivered]})
    async with WholeRelay(database_url, tmp_path, old, transport) as relay:
        await relay.submit(b"u@one.test")
        await relay.settled(1)
        await relay.relay.suspensions.suspend(Suspension("relay:old.test:25", FOREVER, "anna"))
        relay.configure(Configuration(2, "gw.test", relay_host=RelayHost("new.test")))
        await relay.settled(2)
        assert transport.ended[1].destination == "relay:new.test:25"


async def test_a_refused_login_suspends_and_a_new_configuration_resumes(database_url: str, tmp_path: Path) -> None:
    def refused(recipient: OutgoingRecipient) -> Outcome:
        return replace(deferred(recipient), code=535, suspend_destination="relay:smart.test:25")

    configuration = Configuration(1, "gw.test", relay_host=RelayHost("smart.test"))
    transport = ScriptedTransport({b"u@one.test": [refused, delivered]})
    async with WholeRelay(database_url, tmp_path, configuration, transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        second = await relay.submit(b"v@one.test")
        await relay.after(400)
        await relay.committed()
        assert len(transport.begun) == 1
        relay.configure(replace(configuration, revision=2))
        await relay.settled(3)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}
        assert await relay.states(second.queue_id) == {b"v@one.test": State.DELIVERED}


WRONG_LOGIN = Configuration(1, "gw.test", relay_host=RelayHost("smart.test", auth=RelayHostAuth("anna", "wrong")))
RIGHT_LOGIN = Configuration(3, "gw.test", relay_host=RelayHost("smart.test", auth=RelayHostAuth("anna", "right")))


def login_refused(recipient: OutgoingRecipient) -> Outcome:
    return replace(deferred(recipient), code=535, suspend_destination="relay:smart.test:25")


async def test_f56_mail_is_tried_at_once_when_a_refused_password_is_corrected(
    database_url: str, tmp_path: Path
) -> None:
    """F56: by the normal schedule the mail would wait for minutes, and it does so when another setting changes."""
    transport = ScriptedTransport({b"u@one.test": [login_refused, delivered]})
    async with WholeRelay(database_url, tmp_path, WRONG_LOGIN, transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        relay.configure(replace(WRONG_LOGIN, revision=2, max_hops=30))
        relay.configure(RIGHT_LOGIN)
        await relay.settled(2)
        assert [each.revision for each in transport.ended] == [1, 3]
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}


async def test_f56_a_password_corrected_while_relay_did_not_run_is_used(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [login_refused]})
    async with WholeRelay(database_url, tmp_path, WRONG_LOGIN, transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        # The suspension is in the database before the next relay starts.
        await relay.relay.suspensions.suspend(Suspension("relay:smart.test:25", FOREVER, "relay"))
        now = relay.clock
    async with WholeRelay(database_url, tmp_path, RIGHT_LOGIN, clock=now) as relay:
        await relay.settled(1)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}


async def test_f56_a_password_corrected_during_an_attempt_is_used(database_url: str, tmp_path: Path) -> None:
    gate = asyncio.Event()
    transport = ScriptedTransport({b"u@one.test": [login_refused, delivered]}, gates={b"u@one.test": gate})
    async with WholeRelay(database_url, tmp_path, WRONG_LOGIN, transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await transport.until_begun(1)
        relay.configure(RIGHT_LOGIN)
        gate.set()
        await relay.settled(2)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}


async def test_f18_mail_for_an_account_that_is_removed_bounces(database_url: str, tmp_path: Path) -> None:
    """F18: the mail does not go to a mailbox that belongs to nobody."""
    with_account = Configuration(
        1,
        "gw.test",
        local_domains={"local.test": LocalDomain("l", "local.test", Mailbox(MailboxKind.SMTP, "127.0.0.1", 25))},
        account_addresses=frozenset((b"anna@local.test",)),
    )
    transport = ScriptedTransport({b"anna@local.test": [deferred, failed]})
    async with WholeRelay(database_url, tmp_path, with_account, transport) as relay:
        ack = await relay.submit(b"anna@local.test")
        await relay.settled(1)
        relay.configure(replace(with_account, revision=2, account_addresses=frozenset()))
        # After this time a newer configuration would have arrived.
        await relay.after(400)
        # This waits for the report about the bounced mail.
        await transport.until(lambda: bool(transport.to(b"a@sender.test")))
        await relay.committed()
        assert await relay.states(ack.queue_id) == {b"anna@local.test": State.BOUNCED}
        assert [each.destination for each in transport.to(b"anna@local.test")] == ["mailbox:local.test", "fail"]


async def test_f18_mail_waits_for_an_account_that_relay_does_not_know_yet(database_url: str, tmp_path: Path) -> None:
    """Policy accepted the recipient, so policy's configuration may be newer than relay's."""
    without = Configuration(
        1,
        "gw.test",
        local_domains={"local.test": LocalDomain("l", "local.test", Mailbox(MailboxKind.SMTP, "127.0.0.1", 25))},
    )
    async with WholeRelay(database_url, tmp_path, without) as relay:
        ack = await relay.submit(b"anna@local.test")
        await relay.given_back(1)
        relay.configure(replace(without, revision=2, account_addresses=frozenset((b"anna@local.test",))))
        await relay.after(1)
        await relay.settled(1)
        assert await relay.states(ack.queue_id) == {b"anna@local.test": State.DELIVERED}


async def test_f22_a_report_names_the_address_that_was_written_to(database_url: str, tmp_path: Path) -> None:
    """F22: the report does not reveal where the alias leads; only operators see it in the replies of servers."""
    private = (b"anna@private.test", b"bob@private.test")
    configuration = Configuration(1, "gw.test", aliases={b"info@local.test": Alias("a", b"info@local.test", private)})

    def refused(recipient: OutgoingRecipient) -> Outcome:
        text = f"5.1.1 <{recipient.address.decode()}>: no such user at private.test"
        return replace(failed(recipient), text=text, host="mx.private.test", address="192.0.2.1", port=25)

    transport = ScriptedTransport({address: [refused] for address in private})
    async with WholeRelay(database_url, tmp_path, configuration, transport) as relay:
        ack = await relay.submit(b"info@local.test", b"u@one.test")
        await transport.until(lambda: bool(transport.to(b"a@sender.test")))
        await relay.committed()
        for report in transport.to(b"a@sender.test"):
            assert b"private" not in report.content
            assert report.content.count(b"Final-Recipient: rfc822; info@local.test\r\n") == 1
            assert b"Status: 5.1.1\r\n" in report.content
        replies = [row.last_reply for row in (await relay.message(ack.queue_id)).deliveries]
        assert any("no such user at private.test" in text for text in replies)


async def test_damaged_content_is_set_aside_and_other_mail_is_delivered(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred], b"v@one.test": [deferred, delivered]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        damaged = await relay.submit(b"u@one.test")
        whole = await relay.submit(b"v@one.test")
        await relay.settled(2)
        number = int(damaged.queue_id, 16)
        await relay.database.write(
            lambda connection: connection.exec_driver_sql(f"DELETE FROM contents WHERE message_id = {number}")
        )
        await relay.after(400)
        await relay.settled(3)
        assert await relay.states(whole.queue_id) == {b"v@one.test": State.DELIVERED}
        found = await relay.message(damaged.queue_id)
        assert found.deliveries[0].state == State.QUARANTINED
        assert found.deliveries[0].last_reply == "quarantined: the content is missing"
        assert found.row.finished_at is not None
        assert [event.event for event in found.events] == ["quarantined"]


async def test_a_fault_of_our_code_in_an_attempt_keeps_the_message(database_url: str, tmp_path: Path) -> None:
    def broken(_: OutgoingRecipient) -> Outcome:
        raise RuntimeError("a fault in the dispatcher")

    transport = ScriptedTransport({b"u@one.test": [broken, delivered]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await transport.until_begun(1)
        while (await relay.message(ack.queue_id)).deliveries[0].lease_owner is not None:
            await relay.committed()
        await relay.after(301)
        await relay.settled(1)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}


async def test_every_report_is_in_the_timeline_of_its_message(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path, transport=ScriptedTransport({b"no@one.test": [failed]})) as relay:
        ack = await relay.submit(b"no@one.test")
        await relay.settled(2)
        report = relay.transport.to(b"a@sender.test")[0]
        (event,) = (await relay.message(ack.queue_id)).events
        assert (event.event, event.detail) == ("dsn_sent", report.queue_id)


async def test_a_report_that_can_not_be_returned_reaches_the_postmasters_once(
    database_url: str, tmp_path: Path
) -> None:
    configuration = Configuration(1, "gw.test", external_postmasters=(b"chief@far.test",))
    transport = ScriptedTransport({b"no@one.test": [failed], b"a@sender.test": [failed], b"chief@far.test": [failed]})
    async with WholeRelay(database_url, tmp_path, configuration, transport) as relay:
        await relay.submit(b"no@one.test")
        await relay.settled(3)
        await relay.committed()
        assert [each.recipients for each in transport.ended] == [
            (b"no@one.test",),
            (b"a@sender.test",),
            (b"chief@far.test",),
        ]
        assert [each.sender for each in transport.ended] == [b"a@sender.test", b"", b""]
        assert await relay.rows("SELECT kind FROM messages ORDER BY id") == [(0,), (1,), (2,)]
        assert await relay.rows("SELECT count(*) FROM messages WHERE open > 0") == [(0,)]


async def test_with_few_slots_destinations_are_served_in_turns(database_url: str, tmp_path: Path) -> None:
    gate = asyncio.Event()
    transport = ScriptedTransport(gates={b"first@one.test": gate})
    async with WholeRelay(database_url, tmp_path, transport=transport, concurrency=1) as relay:
        await relay.submit(b"first@one.test")
        await transport.until_begun(1)
        for number in range(6):
            await relay.submit(b"u%d@one.test" % number)
        for number in range(6):
            await relay.submit(b"u%d@two.test" % number)
        gate.set()
        await relay.settled(13)
        assert [each.destination[7:10] for each in transport.ended] == ["one", *(["one", "two"] * 6)]


@pytest.fixture
def never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches off the regular queries of the dispatcher, so that tests show that mail does not need them."""
    monkeypatch.setattr(dispatcher, "_TICK_SECONDS", 600.0)


@pytest.mark.usefixtures("never_asked")
async def test_a_full_queue_is_delivered_without_pauses(database_url: str, tmp_path: Path) -> None:
    """There are far more deliveries than a destination may have in memory. Relay claims the next ones at once."""
    transport = ScriptedTransport(capacities={"domain:one.test": 2})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        await relay.relay.suspensions.suspend(Suspension("domain:one.test", FOREVER, "anna"))
        recipients = [b"u%d@one.test" % number for number in range(100)]
        for recipient in recipients:
            await relay.submit(recipient)
        await relay.committed()
        assert transport.begun == []
        await relay.relay.suspensions.resume("domain:one.test")
        relay.relay.dispatcher.wake()
        await relay.settled(100)
        assert sorted(each.recipients[0] for each in transport.ended) == sorted(recipients)
        assert relay.relay.memory.deliveries == 0


@pytest.mark.usefixtures("never_asked")
async def test_mail_that_an_outcome_makes_due_is_tried_at_once(database_url: str, tmp_path: Path) -> None:
    def closed(recipient: OutgoingRecipient) -> Outcome:
        return replace(deferred(recipient), code=421, counts=False)

    transport = ScriptedTransport({b"u@one.test": [closed, delivered]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(2)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}


@pytest.mark.usefixtures("never_asked")
async def test_free_memory_is_filled_at_once(database_url: str, tmp_path: Path) -> None:
    gate = asyncio.Event()
    transport = ScriptedTransport(gates={b"u%d@one.test" % number: gate for number in range(3)})
    async with WholeRelay(database_url, tmp_path, transport=transport, backlog=6) as relay:
        for number in range(30):
            await relay.submit(b"u%d@one.test" % number)
        await transport.until_begun(3)
        gate.set()
        await relay.settled(30)


async def test_steady_mail_needs_no_search_for_due_mail(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        await relay.submit(b"u@one.test")
        await relay.settled(1)
        asked: list[str] = []
        monkeypatch.setattr(dispatcher, "_TICK_SECONDS", 600.0)
        monkeypatch.setattr(dispatcher, "earliest_wake", lambda *_: asked.append("wake"))
        monkeypatch.setattr(dispatcher, "claim", lambda *_, **__: asked.append("claim"))
        for number in range(20):
            await relay.submit(b"u%d@one.test" % number)
        await relay.settled(21)
        # One query is allowed: the new configuration may cause it.
        assert len(asked) <= 1


@pytest.mark.usefixtures("never_asked")
async def test_due_mail_is_tried_once_fresh_mail_of_its_destination_leaves_room(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(recipient: OutgoingRecipient) -> Outcome:
        return replace(deferred(recipient), code=421, counts=False)

    monkeypatch.setattr(dispatcher, "_PAUSE", 600 * MICROSECONDS)
    first, others = asyncio.Event(), asyncio.Event()
    fresh = [b"u%d@one.test" % number for number in range(20)]
    gates = {b"v@one.test": first} | dict.fromkeys(fresh, others)
    transport = ScriptedTransport({b"v@one.test": [closed, delivered]}, {"domain:one.test": 2}, gates)
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        for recipient in (b"v@one.test", *fresh):
            await relay.submit(recipient)
        await transport.until_begun(2)
        first.set()
        await relay.settled(1)
        others.set()
        await relay.settled(22)
        assert len(transport.to(b"v@one.test")) == 2
