"""A target that is a name becomes a replica for each address, and keeps them while the name server is down."""

from __future__ import annotations

import pytest

from libs.runtime import endpoints
from libs.runtime.endpoints import Endpoints


class Names:
    """A name server's table. A name that is not in it is an error, as with the system's resolver."""

    def __init__(self) -> None:
        self.table: dict[str, list[str]] = {}

    async def addresses(self, host: str) -> list[str]:
        if host not in self.table:
            raise OSError("no such name")
        return self.table[host]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(endpoints, "addresses", found.addresses)
    return found


async def test_each_address_counts_as_a_replica() -> None:
    found = Endpoints(("192.0.2.1:5", "[2001:db8::1]:6", "unix:/run/relay.sock", "192.0.2.1:5"))
    assert not found.named
    assert await found.look_up() == ("192.0.2.1:5", "[2001:db8::1]:6", "unix:/run/relay.sock")


async def test_a_name_gives_all_of_its_present_addresses(names: Names) -> None:
    names.table = {"relay": ["192.0.2.1", "192.0.2.2", "192.0.2.1"], "other": ["2001:db8::1"]}
    found = Endpoints(("relay:5", "other:6"))
    assert found.named
    assert await found.look_up() == ("192.0.2.1:5", "192.0.2.2:5", "[2001:db8::1]:6")
    names.table["relay"] = ["192.0.2.2", "192.0.2.3"]
    assert await found.look_up() == ("192.0.2.2:5", "192.0.2.3:5", "[2001:db8::1]:6")


async def test_a_name_that_is_not_found_keeps_its_last_addresses(names: Names) -> None:
    found = Endpoints(("relay:5", "192.0.2.9:5"))
    assert await found.look_up() == ("192.0.2.9:5",)
    names.table = {"relay": ["192.0.2.1"]}
    assert await found.look_up() == ("192.0.2.9:5", "192.0.2.1:5")
    names.table = {}
    assert await found.look_up() == ("192.0.2.9:5", "192.0.2.1:5")


async def test_the_systems_resolver_knows_localhost() -> None:
    assert "127.0.0.1:5" in await Endpoints(("localhost:5",)).look_up()
