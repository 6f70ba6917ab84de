"""Changes that are refused because of their meaning, and changes that are accepted with a warning (C158)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from libs.dns.stub_resolver import StubResolver
from services.config_api.changes import check_context
from tests.config_api.service import ANY_VERSION, Service, running
from tests.peers.dns import Behaviour, DnsServer, reverse_name

GENERAL = "/v1/settings/general"


@pytest.fixture
async def checked(begun: Path, dns_server: DnsServer) -> AsyncIterator[Service]:
    """The API, with a DNS server that has records of the gateway and of some other hosts."""
    dns_server.load(
        {
            "gateway.example": {"A": "192.0.2.1"},
            reverse_name("192.0.2.1"): {"PTR": "gateway.example."},
            "odd.example": {"A": "192.0.2.2"},
            reverse_name("192.0.2.2"): {"PTR": "other.example."},
            "loop.example": {"A": "127.0.0.1"},
            "good.example": {"MX": ["10 mx.good.example.", "20 gateway.example."]},
            "mx.good.example": {"A": "192.0.2.9"},
            "bad.example": {"MX": ["10 loop.example.", "20 mx.good.example."]},
            "bare.example": {"A": "192.0.2.9"},
        }
    )
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=dns_server.address) as service:
        await service.change(GENERAL, {"profile": {"hostname": "gateway.example"}})
        yield service


def _codes(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(found["pointer"], found["code"]) for found in answer["warnings"]]


async def test_the_hostname_is_looked_up(checked: Service) -> None:
    for name, found in (
        ("gateway.example", []),
        ("odd.example", [("/profile/hostname", "hostname_reverse")]),
        ("none.example", [("/profile/hostname", "hostname_no_address")]),
    ):
        assert _codes(await checked.change(GENERAL, {"profile": {"hostname": name}})) == found


async def test_external_postmasters_at_local_domains_give_a_warning(checked: Service) -> None:
    await checked.make("local-domains", {"name": "ours.example"})
    given = ["boss@ours.example", "PostMaster@OURS.example", "mailer-daemon@ours.example", "postmaster@other.example"]
    answer = await checked.change(GENERAL, {"external_postmasters": given})
    assert [found for found in _codes(answer) if found[1] == "loop"] == [
        ("/external_postmasters/1", "loop"),
        ("/external_postmasters/2", "loop"),
    ]
    made = await checked.make("local-domains", {"name": "other.example"})
    assert ("/name", "loop") in _codes(made)


async def test_an_alias_that_leads_to_itself_gives_a_warning(checked: Service) -> None:
    made = await checked.make("aliases", {"address": "a@b.example", "targets": ["c@b.example", "A@B.example"]})
    assert _codes(made) == [("/targets/1", "loop")]
    assert _codes(await checked.change(f"/v1/aliases/{made['id']}", {"targets": ["c@b.example"]})) == []


async def test_a_silent_dns_does_not_delay_a_change(begun: Path, dns_server: DnsServer) -> None:
    dns_server.behave("silent.example", Behaviour.SILENT)
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=dns_server.address) as service:
        answer = await service.change(GENERAL, {"profile": {"hostname": "silent.example"}})
        assert _codes(answer) == [("/profile/hostname", "hostname_unknown")]


async def test_a_low_limit_of_recipients_gives_a_warning(checked: Service) -> None:
    assert _codes(await checked.change(GENERAL, {"profile": {"max_recipients": 99}})) == [
        ("/profile/max_recipients", "few_recipients")
    ]


async def test_relay_hosts_that_are_this_gateway_are_refused(checked: Service) -> None:
    rule = {"name": "x", "type": "sender", "target_type": "domain", "targets": ["a.example"]}
    for host, port, status in (
        ("gateway.example", 25, 422),
        ("GATEWAY.example.", 587, 422),
        ("127.0.0.1", 8025, 422),
        ("[::1]", 8465, 422),
        ("localhost", 8587, 422),
        ("loop.example", 8025, 422),
        ("127.9.9.9", 8025, 422),
        ("::ffff:127.0.0.1", 8465, 422),
        ("127.9.9.9", 2525, 201),
        ("loop.example", 2525, 201),
        ("gateway.example", 2525, 201),
        ("mx.good.example", 25, 201),
    ):
        body = {**rule, "name": f"{host} {port}", "relay_host": {"host": host, "port": port}}
        answer = await checked.api.post("/v1/relay-rules", json=body)
        assert answer.status_code == status, (host, port, answer.text)
        if status == 422:
            assert answer.json()["errors"][0]["code"] == "loop"
    tag = (await checked.api.get("/v1/settings/delivery")).headers["etag"]
    body = {"mode": "relay_host", "relay_host": {"host": "gateway.example"}}
    answer = await checked.api.put("/v1/settings/delivery", json=body, headers={"If-Match": tag})
    assert answer.status_code == 422
    for member in ("mailbox", "quarantine_mailbox"):
        for kind in ("smtp", "lmtp"):
            mailbox = {"kind": kind, "host": "loop.example", "port": 8025}
            answer = await checked.api.post("/v1/local-domains", json={"name": "a.example", member: mailbox})
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{member}/host")


async def test_a_hostname_that_is_also_a_relay_host_gives_a_warning(checked: Service) -> None:
    loop = ("/profile/hostname", "loop")
    rule = {"name": "x", "type": "sender", "target_type": "domain", "targets": ["a.example"], "enabled": False}
    made = await checked.make("relay-rules", {**rule, "relay_host": {"host": "odd.example", "port": 587}})
    assert loop not in _codes(await checked.change(GENERAL, {"profile": {"hostname": "odd.example"}}))
    await checked.change(GENERAL, {"profile": {"hostname": "gateway.example"}})
    await checked.change(f"/v1/relay-rules/{made['id']}", {"enabled": True})
    assert loop in _codes(await checked.change(GENERAL, {"profile": {"hostname": "odd.example"}}))
    await checked.change("/v1/settings/delivery", {"mode": "relay_host", "relay_host": {"host": "mx.good.example"}})
    assert loop in _codes(await checked.change(GENERAL, {"profile": {"hostname": "mx.good.example"}}))


async def test_local_networks_that_are_too_wide_give_a_warning_when_they_need_no_login(checked: Service) -> None:
    networks = ["10.0.0.0/8", "fc00::/7", "0.0.0.0/0", "16.0.0.0/4", "2000::/16", "198.51.100.0/24"]
    auth = {"local_networks": networks}
    assert not {"everyone", "wide"} & {code for _, code in _codes(await checked.change(GENERAL, {"smtp_auth": auth}))}
    answer = await checked.change(GENERAL, {"smtp_auth": {"skip_for_local_networks": True}})
    assert [pair for pair in _codes(answer) if pair[1] in ("everyone", "wide")] == [
        (f"/smtp_auth/local_networks/{number}", code) for number, code in ((2, "everyone"), (3, "wide"), (4, "wide"))
    ]


async def test_c158_invalid_hosts_and_ports_are_refused(checked: Service) -> None:
    rule = {"name": "x", "type": "sender", "target_type": "domain", "targets": ["a.example"]}
    hosts: list[Any] = [
        "a b",
        "a@b.example",
        "a\r\nb",
        "a..b",
        "",
        "-",
        "a/b",
        "[a",
        "1.2.3",
        "1.2.3.4.5",
        "::g",
        "a:25",
        5,
    ]
    for host in hosts:
        answer = await checked.api.post("/v1/relay-rules", json={**rule, "relay_host": {"host": host}})
        assert answer.status_code == 422, host
        assert answer.json()["errors"][0]["pointer"] == "/relay_host/host", host
    ports: list[Any] = [0, 70_000, -1, "25", 25.0, True, None]
    for port in ports:
        answer = await checked.api.post(
            "/v1/relay-rules", json={**rule, "relay_host": {"host": "h.example", "port": port}}
        )
        assert answer.status_code == 422, port
        assert answer.json()["errors"][0]["pointer"] == "/relay_host/port"
    bare = await checked.make("relay-rules", {**rule, "relay_host": {"host": "[192.0.2.25]"}})
    assert bare["relay_host"]["host"] == "192.0.2.25"


async def test_c158_wide_trusted_ranges_give_a_warning(checked: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {
        "0.0.0.0/0": "everyone",
        "::/0": "everyone",
        "10.0.0.0/7": None,
        "2000::/16": "wide",
        "16.0.0.0/4": "wide",
        "198.0.0.0/8": None,
        "2001:db8::/32": None,
    }
    for number, (network, code) in enumerate(wide.items()):
        answer = await checked.api.post("/v1/trusted-networks", json={"name": str(number), "networks": [network]})
        if network == "10.0.0.0/7":
            assert answer.status_code == 201
            assert ("/networks/0", "wide") in _codes(answer.json())
            continue
        codes = [found for _, found in _codes(answer.json()) if found != "gateway_in_range"]
        assert codes == ([code] if code else []), network


async def test_ranges_that_contain_the_network_gateway_of_this_host_give_a_warning(
    begun: Path, resolver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_context, "_gateways", lambda: ["172.17.0.1"])
    async with running(f"sqlite:///{begun / 'config.sqlite3'}", begun, nameservers=resolver) as service:
        made = await service.make("trusted-networks", {"name": "n", "networks": ["192.0.2.0/24", "172.16.0.0/12"]})
        assert _codes(made) == [("/networks/1", "gateway_in_range")]
        answer = await service.change(GENERAL, {"smtp_auth": {"skip_for_local_networks": True}})
        assert ("/smtp_auth/local_networks", "gateway_in_range") in _codes(answer)


async def test_relay_domains_whose_mail_leads_back_or_nowhere_give_a_warning(checked: Service) -> None:
    for domain, found in (
        ("good.example", []),
        ("bare.example", []),
        ("bad.example", [("/domain", "no_better_host")]),
        ("gone.example", [("/domain", "no_mail_host")]),
    ):
        await checked.make("recipients", {"address": f"a@{domain}"})
        body = {"domain": domain, "recipients": "list"}
        assert _codes(await checked.make("relay-domains", body)) == found


async def test_relay_rule_targets_that_no_mail_reaches_give_a_warning(checked: Service) -> None:
    rule = {"type": "recipient", "relay_host": {"host": "smart.example"}}
    first = {**rule, "name": "1", "target_type": "domain", "targets": ["a.example", "b.example"], "position": 1}
    assert _codes(await checked.make("relay-rules", first)) == []
    second = {**rule, "name": "2", "target_type": "domain", "targets": ["c.example", "B.example"], "position": 2}
    assert _codes(await checked.make("relay-rules", second)) == [("/targets/1", "unreachable")]
    better = {**second, "name": "3", "position": 0}
    assert _codes(await checked.make("relay-rules", better)) == []
    await checked.make("aliases", {"address": "info@a.example", "targets": ["x@b.example"]})
    alias = {**rule, "name": "4", "target_type": "address", "targets": ["INFO@a.example"]}
    assert _codes(await checked.make("relay-rules", alias)) == [("/targets/0", "unreachable")]


async def test_postmasters_without_mail_give_a_warning(checked: Service) -> None:
    made = await checked.make("local-domains", {"name": "ours.example", "mailbox": {"kind": "maildir", "path": "/x"}})
    assert _codes(made) == [("/name", "postmaster_missing")]
    await checked.make("aliases", {"address": "postmaster@ours.example", "targets": ["x@b.example"]})
    account = {"login": "a", "addresses": ["Mailer-Daemon@ours.example", "a@elsewhere.example"]}
    assert _codes(await checked.make("accounts", account)) == [("/addresses/1", "domain_not_local")]
    missing = ("/external_postmasters", "postmaster_missing")
    assert missing not in _codes(await checked.change(GENERAL, {"profile": {"max_hops": 9}}))
    await checked.make("local-domains", {"name": "more.example", "mailbox": {"kind": "maildir", "path": "/x"}})
    assert missing in _codes(await checked.change(GENERAL, {"profile": {"max_hops": 8}}))
    assert missing not in _codes(await checked.change(GENERAL, {"external_postmasters": ["boss@b.example"]}))


async def test_an_import_gives_the_warnings_of_single_changes(checked: Service) -> None:
    document = await checked.get("/v1/config:export")
    document["settings"]["general"]["profile"]["hostname"] = "odd.example"
    document["trusted_networks"] = [{"name": "all", "networks": ["192.0.2.0/24", "0.0.0.0/0"]}]
    await checked.make("recipients", {"address": "a@good.example"})
    document["relay_domains"] = [{"domain": "good.example", "recipients": "list"}, {"domain": "bad.example"}]
    document["local_domains"] = [{"name": "ours.example", "mailbox": {"kind": "maildir", "path": "/x"}}]
    document["accounts"] = [{"login": "a", "addresses": ["a@ours.example", "a@elsewhere.example"]}]
    rule = {"type": "sender", "target_type": "domain", "relay_host": {"host": "mx.good.example"}}
    document["relay_rules"] = [
        {**rule, "name": name, "targets": ["a.example"], "position": n} for n, name in enumerate("xy")
    ]
    found = {
        ("/settings/general/profile/hostname", "hostname_reverse"),
        ("/settings/general/external_postmasters", "postmaster_missing"),
        ("/trusted_networks/0/networks/1", "everyone"),
        ("/relay_domains/1/domain", "no_better_host"),
        ("/relay_domains/1/recipients", "any_recipient"),
        ("/local_domains/0/name", "postmaster_missing"),
        # ours.example becomes a local domain only by the imported document.
        ("/accounts/0/addresses/1", "domain_not_local"),
        ("/relay_rules/1/targets/0", "unreachable"),
    }
    for query in ("?dry_run=true", ""):
        answer = await checked.api.post(f"/v1/config:import{query}", json=document, headers=ANY_VERSION)
        assert answer.status_code == 200, answer.text
        assert {pair for pair in _codes(answer.json()) if pair[1] != "gateway_in_range"} == found
    # No warning is given about objects that are already stored.
    assert (await checked.api.post("/v1/config:import", json=document, headers=ANY_VERSION)).json()["warnings"] == []
    # This relay host is the gateway itself under its new name.
    document["settings"]["general"]["profile"]["hostname"] = "mx.good.example"
    document["relay_rules"][0]["position"] = 7
    refused = await checked.api.post("/v1/config:import", json=document, headers=ANY_VERSION)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/relay_rules/0/relay_host/host")


async def test_f08_a_change_is_accepted_when_there_are_no_name_servers(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = StubResolver(seconds=1.0, resolv_conf=tmp_path / "resolv.conf")
    monkeypatch.setattr(check_context, "_STUB_RESOLVER", stub)
    async with running(f"sqlite:///{begun / 'config.sqlite3'}", begun, nameservers="") as service:
        changed = await service.change("/v1/settings/general", {"profile": {"hostname": "mx.example.com"}})
        assert changed["profile"]["hostname"] == "mx.example.com"
        await service.make("relay-domains", {"name": "r", "domain": "example.net"})
