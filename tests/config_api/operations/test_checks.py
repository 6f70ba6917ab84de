"""`/v1/checks` lists config_api's own checks of settings and the DNS, and the checks of all replicas."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.config_api.operations.checks.rules_that_never_act import access_rules_that_never_act
from tests.config_api.peers import peers
from tests.config_api.service import Service, running
from tests.peers.dns import DnsServer, reverse_name

NOW = datetime(2026, 1, 31, tzinfo=UTC)


async def results(service: Service, *, run: bool = True) -> dict[str, dict[str, Any]]:
    """Returns the results of config_api's own checks by their id."""
    answer = await (service.api.post("/v1/checks:run") if run else service.api.get("/v1/checks"))
    assert answer.status_code == 200, answer.text
    return {each["id"]: each for each in answer.json()["items"] if each["service"] == "config_api"}


async def test_the_hostname_is_checked_in_the_dns(begun: Path) -> None:
    with DnsServer() as dns:
        dns.secure(".")
        url = f"sqlite:///{begun / 'config.sqlite3'}"
        async with running(url, begun, nameservers=dns.address) as service:
            first = (await results(service))["hostname"]
            assert (first["level"], "localhost.localdomain" in first["text"]) == ("error", True)
            assert "general.profile.hostname=NAME" in first["remedy"]
            await service.change("/v1/settings/general", {"profile": {"hostname": "mx.ours.test"}})
            # GET returns the results of the last run, until somebody runs the checks again.
            assert (await results(service, run=False))["hostname"] == first
            assert "neither an A nor an AAAA" in (await results(service))["hostname"]["text"]
            dns.add("mx.ours.test", "A", "192.0.2.25")
            dns.add(reverse_name("192.0.2.25"), "PTR", "other.test.")
            assert "PTR record of 192.0.2.25" in (await results(service))["hostname"]["text"]
            dns.replace("25.2.0.192.in-addr.arpa", "PTR", "mx.ours.test.")
            well = (await results(service))["hostname"]
            assert (well["level"], well["remedy"]) == ("ok", None)


async def test_harmful_settings_and_rules_that_never_act_are_reported(on_sqlite: Service) -> None:
    found = await results(on_sqlite)
    assert {found[name]["level"] for name in ("relay_domains", "access_rules", "relay_rules")} == {"ok"}
    await on_sqlite.make("relay-domains", {"name": "far", "domain": "far.test"})
    await on_sqlite.make("relay-domains", {"name": "near", "domain": "near.test", "recipients": "list"})
    covering = {"name": "all", "list": "allow", "criterion": "network", "value": "192.0.2.0/24"}
    covered = {"name": "one", "list": "block", "criterion": "ip", "value": "192.0.2.1"}
    await on_sqlite.make("access-rules", covering)
    rule = await on_sqlite.make("access-rules", covered)
    relay_host = {"host": "smart.test"}
    for position, name in enumerate(("first", "second"), 1):
        await on_sqlite.make(
            "relay-rules",
            {
                "name": name,
                "type": "recipient",
                "target_type": "domain",
                "targets": ["far.test"],
                "position": position,
                "relay_host": relay_host,
            },
        )
    found = await results(on_sqlite)
    assert found["relay_domains"]["level"] == "warning"
    assert "far.test" in found["relay_domains"]["text"]
    assert "near.test" not in found["relay_domains"]["text"]
    assert found["access_rules"]["level"] == "warning"
    assert rule["id"] in found["access_rules"]["text"]
    assert found["relay_rules"]["level"] == "warning"


def rule(
    criterion: str, value: str, kind: str = "block", mode: str = "enforce", expires_at: str | None = None
) -> dict[str, Any]:
    return {"list": kind, "criterion": criterion, "value": value, "mode": mode, "expires_at": expires_at}


@pytest.mark.parametrize(
    ("allowed", "blocked", "is_idle"),
    [
        (("ip", "192.0.2.1"), ("ip", "192.0.2.1"), True),
        (("network", "192.0.2.0/24"), ("ip", "192.0.2.1"), True),
        (("network", "192.0.2.0/24"), ("network", "192.0.2.128/25"), True),
        (("network", "192.0.2.128/25"), ("network", "192.0.2.0/24"), False),
        (("network", "192.163.1.1/255.100.10.1"), ("ip", "192.163.1.1"), True),
        (("ip", "2001:db8::1"), ("ip", "2001:db8::1"), True),
        (("network", "2001:db8::/32"), ("ip", "192.0.2.1"), False),
        (("sender", "a@far.test"), ("sender", "A@far.test"), True),
        (("domain", "far.test"), ("sender", "a@far.test"), True),
        (("domain", ".far.test"), ("sender", "a@far.test"), False),
        (("domain", ".far.test"), ("domain", "sub.far.test"), True),
        (("domain", ".far.test"), ("domain", ".sub.far.test"), True),
        (("domain", "far.test"), ("domain", ".far.test"), False),
        (("sender", "a@far.test"), ("domain", "far.test"), False),
        # A sender can be forged, so an allow rule for it does not lift a block rule for a client.
        (("domain", "far.test"), ("ip", "192.0.2.1"), False),
        (("recipient", "a@ours.test"), ("recipient", "a@ours.test"), True),
        (("recipient", "a@far.test"), ("sender", "a@far.test"), False),
    ],
)
def test_block_rules_that_an_allow_rule_covers_are_reported(
    allowed: tuple[str, str], blocked: tuple[str, str], is_idle: bool
) -> None:
    idle = access_rules_that_never_act([("a", rule(*allowed, kind="allow")), ("b", rule(*blocked))], (), NOW)
    assert list(idle.values()) == ([["b"]] if is_idle else [])
    # An allow rule in shadow mode does not lift a block rule.
    in_shadow = rule(*allowed, kind="allow", mode="shadow")
    assert access_rules_that_never_act([("a", in_shadow), ("b", rule(*blocked))], (), NOW) == {}


def test_ended_rules_and_allow_rules_for_exempt_networks_are_reported() -> None:
    rules = [
        ("ended", rule("ip", "192.0.2.1", expires_at="2026-01-30T00:00:00+00:00")),
        ("acts", rule("ip", "192.0.2.2", expires_at="2026-02-01T00:00:00+00:00")),
        ("exempt", rule("network", "10.1.0.0/16", kind="allow")),
        ("off", rule("network", "10.2.0.0/16", kind="allow", mode="off")),
        ("partly", rule("network", "8.0.0.0/6", kind="allow")),
    ]
    idle = access_rules_that_never_act(rules, ["10.0.0.0/8"], NOW)
    assert sorted(idle.values()) == [["ended"], ["exempt"]]


async def test_checks_of_all_replicas_are_in_one_list(begun: Path, resolver: str) -> None:
    async with peers() as (fake_policy, _, targets):
        url = f"sqlite:///{begun / 'config.sqlite3'}"
        twice = {**targets, "policy_target": f"{targets['policy_target']},{targets['policy_target']}"}
        async with running(url, begun, nameservers=resolver, **twice) as service:
            items = (await service.get("/v1/checks"))["items"]
            assert not any(asked.run for asked in fake_policy.checks.asked)
            assert {asked.hostname for asked in fake_policy.checks.asked} == {"localhost.localdomain"}
            levels = [item["level"] for item in items]
            assert levels == sorted(levels, key=["error", "warning", "ok"].index)
            [disk] = [item for item in items if (item["service"], item["id"]) == ("policy", "disk")]
            assert (disk["level"], disk["text"], disk["remedy"]) == ("error", "Full.", "Delete something.")
            assert disk["made_at"] == "2026-01-31T12:00:00.000Z"
            assert set(disk["replicas"]) == {targets["policy_target"]}
            # The fake relay does not implement checks.
            [relay] = [item for item in items if item["service"] == "relay"]
            assert (relay["id"], relay["level"], relay["made_at"]) == ("reachable", "error", None)
            assert not [
                item for item in items if (item["service"], item["id"], item["level"]) == ("policy", "clock", "error")
            ]
            fake_policy.checks.clock_ahead = -90.0
            answer = await service.api.post("/v1/checks:run")
            assert fake_policy.checks.asked[-1].run
            [clock] = [
                each
                for each in answer.json()["items"]
                if (each["service"], each["id"], each["level"]) == ("policy", "clock", "error")
            ]
            assert "behind" in clock["text"]
