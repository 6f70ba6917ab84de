"""A replica that did not answer is called after all others. Names are looked up in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from libs.runtime import dialing, endpoints
from libs.runtime.dialing import Dialers, NoReplicaError
from libs.runtime.rpc import Dialer
from tests.peers.plain_grpc import INSECURE


class Names:
    """The table of a name server that can be silent. `asked` counts the questions."""

    def __init__(self) -> None:
        self.table: dict[str, list[str]] = {}
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = 0
        # This event is set when a look-up waits for its answer.
        self.waiting = asyncio.Event()

    async def addresses(self, host: str) -> list[str]:
        self.asked += 1
        if not self.answering.is_set():
            self.waiting.set()
        await self.answering.wait()
        if host not in self.table:
            raise OSError("no such name")
        return self.table[host]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(endpoints, "addresses", found.addresses)
    return found


def targets(dialers: Iterable[Dialer]) -> list[str]:
    return [dialer.target for dialer in dialers]


async def looked(dialers: Dialers) -> None:
    """Returns when the present look-up has ended."""
    if dialers._look is not None:
        await dialers._look


async def test_a_replica_that_did_not_answer_is_called_last() -> None:
    async with Dialers("relay", ("192.0.2.1:5", "192.0.2.2:5", "192.0.2.3:5"), INSECURE) as dialers:
        first, second, third = await dialers.all()
        dialers.failed(first)
        assert await dialers.all() == (second, third, first)
        dialers.failed(third)
        assert await dialers.first() is second
        assert await dialers.all() == (second, first, third)


async def test_callers_begin_with_different_replicas() -> None:
    beginnings = set()
    for _ in range(100):
        async with Dialers("relay", ("192.0.2.1:5", "192.0.2.2:5"), INSECURE) as dialers:
            beginnings.add((await dialers.first()).target)
    assert beginnings == {"192.0.2.1:5", "192.0.2.2:5"}


async def test_changed_addresses_are_used_and_other_connections_stay(names: Names) -> None:
    names.table = {"relay": ["192.0.2.1", "192.0.2.2"]}
    async with Dialers("relay", ("relay:5",), INSECURE) as dialers:
        before = {each.target: each for each in await dialers.all()}
        assert before.keys() == {"192.0.2.1:5", "192.0.2.2:5"}
        names.table = {"relay": ["192.0.2.2", "192.0.2.3"]}
        # A replica that does not answer is a reason to look up its name again.
        dialers.failed(before["192.0.2.1:5"])
        await dialers.all()
        await looked(dialers)
        after = {each.target: each for each in await dialers.all()}
        assert after.keys() == {"192.0.2.2:5", "192.0.2.3:5"}
        assert after["192.0.2.2:5"] is before["192.0.2.2:5"]


async def test_an_answer_of_the_name_server_is_used_for_a_while(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    names.table = {"relay": ["192.0.2.1"]}
    async with Dialers("relay", ("relay:5",), INSECURE) as dialers:
        for _ in range(3):
            await dialers.all()
        assert names.asked == 1
        monkeypatch.setattr(dialing, "_FRESH_SECONDS", 0.0)
        await dialers.all()
        await looked(dialers)
        assert names.asked == 2


async def test_a_silent_name_server_does_not_delay_calls_to_known_addresses(names: Names) -> None:
    names.table = {"relay": ["192.0.2.1"]}
    async with Dialers("relay", ("relay:5",), INSECURE) as dialers:
        dialer = await dialers.first()
        names.answering.clear()
        dialers.failed(dialer)
        assert targets(await dialers.all()) == ["192.0.2.1:5"]
        assert targets(await dialers.all()) == ["192.0.2.1:5"]
        await names.waiting.wait()
        assert names.asked == 2, "only one look-up runs at a time"


async def test_there_is_no_replica_until_a_name_has_an_address(names: Names) -> None:
    async with Dialers("relay", ("relay:5",), INSECURE) as dialers:
        with pytest.raises(NoReplicaError):
            await dialers.first()
        names.table = {"relay": ["192.0.2.1"]}
        assert (await dialers.first()).target == "192.0.2.1:5"
