"""Mail marked for quarantine is delivered, goes to the quarantine mailbox, or is held without telling the sender."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.relay.api.operator import Action
from services.relay.configuration.model import Alias, Configuration, Quarantine
from services.relay.intake.submission import Frame, Refusal
from services.relay.model.message import Origin
from services.relay.model.states import QUARANTINE, State
from tests.relay.scheduler.test_expiry import HOUR, act, sweep
from tests.relay.scripted_transport import ScriptedTransport
from tests.relay.whole_relay import WholeRelay

HOLD = Configuration(1, "gw.test", quarantine=Quarantine.HOLD)
MARK = replace(HOLD, revision=2, quarantine=Quarantine.MARK)


async def _destination(relay: WholeRelay, queue_id: str) -> list[tuple[str, int | None]]:
    return [(row.destination, row.due_at) for row in (await relay.message(queue_id)).deliveries]


async def test_only_marked_mail_is_held(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport()
    async with WholeRelay(database_url, tmp_path, HOLD, transport) as relay:
        marked = await relay.submit(b"u@one.test", quarantine=True, check_results=("rspamd: add header, score 7",))
        plain = await relay.submit(b"u@one.test")
        await relay.settled(1)
        assert await relay.states(plain.queue_id) == {b"u@one.test": State.DELIVERED}
        assert await _destination(relay, marked.queue_id) == [(QUARANTINE, None)]
        assert transport.to(b"u@one.test")[0].queue_id == plain.queue_id
        (event,) = (await relay.message(marked.queue_id)).events
        assert (event.event, event.detail) == ("checked", "rspamd: add header, score 7")


async def test_released_mail_is_delivered_and_not_held_again(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport()
    async with WholeRelay(database_url, tmp_path, HOLD, transport) as relay:
        ack = await relay.submit(b"u@one.test", quarantine=True)
        await relay.committed()
        assert (await act(relay, Action.RETRY, ack.queue_id)).skipped == 1
        assert (await act(relay, Action.RELEASE, ack.queue_id)).acted == 1
        await relay.settled(1)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}
        assert [event.event for event in (await relay.message(ack.queue_id)).events] == ["released"]


@pytest.mark.parametrize("action", [Action.BOUNCE, Action.DELETE])
async def test_quarantined_mail_that_an_operator_ends_causes_no_report(
    database_url: str, tmp_path: Path, action: Action
) -> None:
    transport = ScriptedTransport()
    async with WholeRelay(database_url, tmp_path, HOLD, transport) as relay:
        ack = await relay.submit(b"u@one.test", quarantine=True)
        await relay.committed()
        assert (await act(relay, action, ack.queue_id)).acted == 1
        state = State.BOUNCED if action is Action.BOUNCE else State.DELETED
        assert await relay.states(ack.queue_id) == {b"u@one.test": state}
        assert await relay.rows("SELECT COUNT(*) FROM messages") == [(1,)]


async def test_quarantined_mail_expires_without_any_report(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport()
    async with WholeRelay(database_url, tmp_path, HOLD, transport) as relay:
        ack = await relay.submit(b"u@one.test", quarantine=True)
        await relay.committed()
        relay.clock.pass_time(5 * HOUR)
        await sweep(relay)
        relay.clock.pass_time(116 * HOUR)
        await sweep(relay)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.BOUNCED}
        assert [event.event for event in (await relay.message(ack.queue_id)).events] == ["expired"]
        assert await relay.rows("SELECT COUNT(*) FROM messages") == [(1,)]


async def test_a_new_setting_applies_to_mail_that_is_already_held(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport()
    async with WholeRelay(database_url, tmp_path, HOLD, transport) as relay:
        ack = await relay.submit(b"u@one.test", quarantine=True)
        await relay.committed()
        # A change of another setting leaves the mail in quarantine.
        relay.configure(replace(HOLD, revision=2, hostname="other.test"))
        await relay.submit(b"v@two.test")
        await relay.settled(1)
        assert await _destination(relay, ack.queue_id) == [(QUARANTINE, None)]
        relay.configure(replace(MARK, revision=3))
        await relay.settled(2)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}


async def test_an_alias_made_later_does_not_release_quarantined_mail(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path, HOLD, ScriptedTransport()) as relay:
        ack = await relay.submit(b"u@one.test", quarantine=True)
        await relay.committed()
        aliases = {b"u@one.test": Alias("a1", b"u@one.test", (b"v@two.test",))}
        relay.configure(replace(HOLD, revision=2, aliases=aliases))
        await relay.submit(b"w@three.test")
        await relay.settled(1)
        assert await _destination(relay, ack.queue_id) == [(QUARANTINE, None)]
        assert await relay.rows("SELECT COUNT(*) FROM messages") == [(2,)]


async def test_a_refused_message_has_its_check_results_in_the_history(database_url: str, tmp_path: Path) -> None:
    origin = Origin("s1", "192.0.2.9", b"client.test", "", "smtp")
    refusal = Refusal(
        origin,
        b"a@sender.test",
        (b"u@one.test",),
        554,
        "5.7.1",
        "spam",
        "spam",
        "",
        "END_OF_DATA",
        0,
        False,
        check_results=("x",),
    )
    async with WholeRelay(database_url, tmp_path, HOLD, ScriptedTransport()) as relay:
        relay.stream.feed(Frame((), (), (), (refusal,)))
        await relay.committed()
        assert await relay.rows("SELECT event, detail FROM events") == [("checked", "x")]
