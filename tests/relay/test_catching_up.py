"""Mail for a domain that is local in policy's configuration and not yet in relay's waits for relay's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.relay.configuration.model import Alias, Configuration, LocalDomain, Mailbox, MailboxKind
from services.relay.model.message import Origin, Settled
from services.relay.model.states import State
from tests.relay.whole_relay import WholeRelay

# The options of a submission from a client that may send only to our own domains.
_STRANGER: dict[str, Any] = {"origin": Origin("s1", "192.0.2.9", b"client.test", "", "smtp")}
_MAILBOX = Mailbox(MailboxKind.SMTP, "127.0.0.1", 24)
_DOMAINS = {"new.test": LocalDomain("d1", "new.test", _MAILBOX)}
_BEFORE = Configuration(1, "gw.test")
_AFTER = Configuration(2, "gw.test", local_domains=_DOMAINS, account_addresses=frozenset((b"alice@new.test",)))


def _given_back(relay: WholeRelay) -> list[Settled]:
    return [
        delivery for settlement in relay.settlements for delivery in settlement.deliveries if delivery.attempt is None
    ]


async def test_mail_goes_to_the_mailbox_once_relay_knows_the_domain(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path, _BEFORE) as relay:
        ack = await relay.submit(b"alice@NEW.test", **_STRANGER)
        await relay.committed()
        assert [each.state for each in _given_back(relay)] == [State.QUEUED]
        assert relay.transport.begun == []
        relay.configure(_AFTER)
        await relay.after(1)
        await relay.settled(1)
        assert [each.destination for each in relay.transport.ended] == ["mailbox:new.test"]
        assert await relay.states(ack.queue_id) == {b"alice@NEW.test": State.DELIVERED}
        (delivery,) = (await relay.message(ack.queue_id)).deliveries
        assert delivery.attempts == 1, "waiting for the configuration does not count as an attempt"


async def test_mail_waits_only_briefly_while_relay_gets_changes(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path, _BEFORE) as relay:
        relay.relay.watch.connected = True
        relay.relay.watch._set_connected = lambda connected: None  # type: ignore[method-assign]
        await relay.submit(b"alice@new.test", **_STRANGER)
        await relay.committed()
        assert len(_given_back(relay)) == 1
        # config_api sends changes to relay at once, so after this time relay knows that the domain is not local.
        await relay.after(4)
        await relay.settled(1)
        assert [each.destination for each in relay.transport.ended] == ["domain:new.test"]


async def test_mail_waits_for_minutes_while_config_api_is_down(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path, _BEFORE) as relay:
        assert not relay.relay.watch.connected
        await relay.submit(b"alice@new.test", **_STRANGER)
        await relay.committed()
        for times in range(2, 5):
            await relay.after(60)
            await relay.given_back(times)
        assert relay.transport.begun == []
        await relay.after(200)
        await relay.settled(1)
        assert [each.destination for each in relay.transport.ended] == ["domain:new.test"]


async def test_other_recipients_and_senders_do_not_wait(database_url: str, tmp_path: Path) -> None:
    aliases = {b"list@old.test": Alias("a1", b"list@old.test", (b"member@far.test",))}
    old = {"old.test": LocalDomain("d1", "old.test", _MAILBOX)}
    accounts = frozenset((b"bob@old.test",))
    configuration = Configuration(1, "gw.test", local_domains=old, aliases=aliases, account_addresses=accounts)
    async with WholeRelay(database_url, tmp_path, configuration) as relay:
        await relay.submit(b"alice@new.test", b"bob@old.test", b"list@old.test", **_STRANGER)
        await relay.submit(b"carol@new.test")
        await relay.settled(3)
        assert sorted(each.recipients for each in relay.transport.ended) == [
            (b"bob@old.test",),
            (b"carol@new.test",),
            (b"member@far.test",),
        ]
        assert len(_given_back(relay)) == 1
