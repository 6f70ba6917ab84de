"""The check whether block lists in the DNS list the gateway itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from libs.dns.servers import server_list
from libs.runtime.checks import CheckResult, Level
from services.policy.lookups.resolver import Resolver
from services.policy.lookups.service import Lookups
from services.policy.machine_checks import block_lists
from tests.peers.dns import Behaviour, DnsServer
from tests.policy.world import snapshot

HOSTNAME = "mx.posthouse.test"
ZONES: list[dict[str, Any]] = [{"zone": "zen.test"}, {"zone": "strict.test", "codes": ["127.0.0.5"]}]


async def look(server: DnsServer, zones: Sequence[dict[str, Any]] = ZONES) -> list[CheckResult]:
    resolver = Resolver(server_list(server.address), seconds=2.0)
    lookups = Lookups(resolver, seconds=2.0)
    current = snapshot({"content_checks": {"dnsbl": {"zones": list(zones)}}})
    try:
        return list(await block_lists(resolver, lookups, lambda: current)())
    finally:
        await lookups.close()


@pytest.fixture
def world() -> Any:
    with DnsServer({HOSTNAME: {"A": ["1.2.3.4", "1.2.3.5"]}}) as server:
        yield server


async def test_a_list_that_lists_the_gateway_is_an_error(world: DnsServer) -> None:
    world.add("4.3.2.1.zen.test", "A", "127.0.0.2")
    [result] = await look(world)
    assert (result.id, result.level) == ("block_lists", Level.ERROR)
    assert "zen.test lists 1.2.3.4" in result.text
    assert result.remedy


async def test_only_the_configured_codes_are_listings(world: DnsServer) -> None:
    world.add("5.3.2.1.strict.test", "A", "127.0.0.2")
    assert [each.level for each in await look(world)] == [Level.OK]
    world.add("4.3.2.1.strict.test", "A", "127.0.0.5")
    assert [each.level for each in await look(world)] == [Level.ERROR]


async def test_a_list_that_does_not_answer_is_a_warning(world: DnsServer) -> None:
    world.behave("*.zen.test", Behaviour.SERVFAIL)
    [result] = await look(world)
    assert (result.level, "zen.test" in result.text, "strict.test" in result.text) == (Level.WARNING, True, False)


async def test_without_lists_or_public_addresses_the_check_is_ok(world: DnsServer) -> None:
    assert [each.level for each in await look(world, [])] == [Level.OK]
    with DnsServer({HOSTNAME: {"A": "192.168.1.1"}}) as private:
        [result] = await look(private)
        assert (result.level, "no public address" in result.text) == (Level.OK, True)
        assert not [query for query in private.queries if query.name.endswith("zen.test")]
