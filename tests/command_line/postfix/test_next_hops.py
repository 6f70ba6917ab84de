"""Relay hosts, next hops and TLS levels of Postfix, and the settings into which they are imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.command_line.postfix.mail_exchangers import NoMailExchangerError
from services.command_line.postfix.parameters import Parameters, read_main
from services.command_line.postfix.report import Plan
from services.command_line.postfix.translation import translate

MX = {
    "provider.example": ["mx1.provider.example", "mx2.provider.example"],
    "many.example": [f"mx{number}.many.example" for number in range(9)],
}


def look_up(domain: str) -> list[str]:
    if domain in ("silent.example", "null.example"):
        raise NoMailExchangerError(is_silent=domain == "silent.example")
    return MX.get(domain, [domain])


def plan_of(text: str, folder: Path) -> Plan:
    return translate(Parameters(read_main(text)), [], folder, look_up)


def texts(plan: Plan, parameter: str, level: str) -> str:
    return "\n".join(each.text for each in plan.findings if (each.parameter, each.level) == (parameter, level))


def host(name: str, port: int = 25) -> dict[str, Any]:
    return {"host": name, "port": port}


@pytest.mark.parametrize(
    ("relayhost", "hosts", "told"),
    [
        ("[smtp.example.net]:587", [host("smtp.example.net", 587)], ""),
        ("host.example:2525", [host("host.example", 2525)], ""),
        ("provider.example", [host("mx1.provider.example"), host("mx2.provider.example")], "2 MX hosts"),
        ("provider.example:587", [host("mx1.provider.example", 587), host("mx2.provider.example", 587)], "2 MX hosts"),
        ("many.example", [host(f"mx{number}.many.example") for number in range(8)], "of 9 hosts the first 8"),
        ("silent.example", [host("silent.example")], "no answer"),
        ("null.example", [host("null.example")], "accepts no mail"),
        ("192.0.2.1", [host("192.0.2.1")], ""),
        ("[ipv6:2001:db8::1]", [host("2001:db8::1")], ""),
        ("[a.example], [b.example]:26", [host("a.example"), host("b.example", 26)], "no connection to [a.example]"),
        (
            "[a.example], provider.example",
            [host(f"{name}.example") for name in ("a", "mx1.provider", "mx2.provider")],
            "",
        ),
    ],
)
def test_without_brackets_the_mx_is_looked_up_and_a_list_has_fallback_hosts(
    relayhost: str, hosts: list[dict[str, Any]], told: str, tmp_path: Path
) -> None:
    plan = plan_of(f"relayhost = {relayhost}", tmp_path)
    relay_host = plan.settings["delivery"]["relay_host"]
    assert [host(relay_host["host"], relay_host["port"]), *relay_host.get("fallback_hosts", [])] == hosts
    partly = texts(plan, "relayhost", "partly")
    assert told in partly
    assert bool(partly) == (bool(told) or len(hosts) > 1)


def test_a_fallback_host_with_another_login_or_tls_level_is_left_out(tmp_path: Path) -> None:
    plan = plan_of(
        """
smtp_fallback_relay = [other.example]
relayhost = [first.example]:587, [second.example]:587
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{ {[first.example]:587 = a:b}, {[second.example]:587 = a:b} }
smtp_tls_security_level = encrypt
""",
        tmp_path,
    )
    relay_host = plan.settings["delivery"]["relay_host"]
    assert relay_host["fallback_hosts"] == [host("second.example", 587)], "the password is not used for another server"
    assert "same login" in texts(plan, "smtp_fallback_relay", "not taken")
    plan = plan_of(
        "relayhost = [first.example], [weak.example]\nsmtp_tls_security_level = encrypt\n"
        "smtp_tls_policy_maps = inline:{ {[weak.example] = may} }\n",
        tmp_path,
    )
    assert "fallback_hosts" not in plan.settings["delivery"]["relay_host"]
    assert "same TLS level" in texts(plan, "relayhost", "not taken")


def test_a_fallback_relay_becomes_a_fallback_host_only_of_relay_hosts(tmp_path: Path) -> None:
    plan = plan_of("relayhost = [a.example]\nsmtp_fallback_relay = [b.example]:26\n", tmp_path)
    assert plan.settings["delivery"]["relay_host"]["fallback_hosts"] == [host("b.example", 26)]
    plan = plan_of("smtp_fallback_relay = [b.example]:26\n", tmp_path)
    assert "direct mail" in texts(plan, "smtp_fallback_relay", "not taken")


@pytest.mark.parametrize(
    ("level", "relay_host", "told"),
    [
        ("may", {}, ""),
        ("encrypt", {"always_tls": True, "verify_certificate": False}, ""),
        ("verify", {"always_tls": True, "verify_certificate": True}, ""),
        ("secure", {"always_tls": True, "verify_certificate": True}, ""),
        ("secure match=other.example", {"always_tls": True, "verify_certificate": True}, "match"),
        ("encrypt protocols=>=TLSv1.2 ciphers=high", {"always_tls": True, "verify_certificate": False}, "ciphers"),
        ("fingerprint match=ab", {"always_tls": True, "verify_certificate": False}, "fingerprints are not compared"),
    ],
)
def test_the_tls_policy_of_a_next_hop_becomes_the_tls_policy_of_its_relay_host(
    level: str, relay_host: dict[str, Any], told: str, tmp_path: Path
) -> None:
    (tmp_path / "policy").write_text(f"[relay.example]:587 {level}\n")
    plan = plan_of(
        "relayhost = [relay.example]:587\nsmtp_tls_security_level = may\nsmtp_tls_policy_maps = texthash:policy\n",
        tmp_path,
    )
    assert plan.settings["delivery"]["relay_host"] == {**host("relay.example", 587), **relay_host}
    assert "tls_policies" not in plan.objects
    assert texts(plan, "smtp_tls_policy_maps", "taken")
    assert told in texts(plan, "smtp_tls_policy_maps", "partly")
    assert bool(texts(plan, "smtp_tls_policy_maps", "partly")) == bool(told)


def test_tls_policies_of_domains_become_policies_for_direct_mail(tmp_path: Path) -> None:
    levels = {
        "must.example": ("encrypt", "encrypt"),
        ".must.example": ("verify", "verify"),
        "sure.example": ("secure match=nexthop", "verify"),
        "dane.example": ("dane", "may"),
        "only.example": ("dane-only", "encrypt"),
        "clear.example": ("none", "none"),
    }
    table = "".join(f"{domain} {word}\n" for domain, (word, _) in levels.items())
    (tmp_path / "policy").write_text(f"{table}[nobody.example]:25 encrypt\nodd.example sometimes\n* encrypt\n")
    plan = plan_of("smtp_tls_policy_maps = hash:/etc/postfix/policy\n", tmp_path)
    assert plan.objects["tls_policies"] == [{"domain": domain, "level": level} for domain, (_, level) in levels.items()]
    partly, not_taken = (texts(plan, "smtp_tls_policy_maps", level) for level in ("partly", "not taken"))
    assert all(word in partly for word in ("sure.example: secure: match", "the DNS says", "TLSA records"))
    assert "must.example" not in partly
    assert all(word in not_taken for word in ("[nobody.example]:25", "'sometimes'", "*: Postfix looks up no such key"))


def test_a_static_table_applies_to_every_destination_that_no_earlier_table_contains(tmp_path: Path) -> None:
    plan = plan_of(
        "relayhost = [relay.example]\nsmtp_tls_policy_maps = inline:{x.example=may}, static:encrypt\n", tmp_path
    )
    assert plan.settings["delivery"]["relay_host"]["always_tls"]
    assert plan.objects["tls_policies"] == [{"domain": "x.example", "level": "may"}]


@pytest.mark.parametrize(
    ("parameters", "name", "level"),
    [
        ("smtp_tls_security_level = encrypt", "smtp_tls_security_level", "not taken"),
        ("smtp_tls_security_level = dane", "smtp_tls_security_level", "taken"),
        ("smtp_tls_security_level = may", "smtp_tls_security_level", "taken"),
        ("smtp_tls_security_level = none", "smtp_tls_security_level", "partly"),
        ("smtp_tls_policy_maps = static:secure", "smtp_tls_policy_maps", "not taken"),
        ("smtp_enforce_tls = yes", "smtp_enforce_tls", "not taken"),
        ("smtp_use_tls = yes", "smtp_use_tls", "taken"),
    ],
)
def test_the_tls_level_of_direct_mail_is_reported(parameters: str, name: str, level: str, tmp_path: Path) -> None:
    assert texts(plan_of(parameters, tmp_path), name, level)
    assert not texts(plan_of(f"relayhost = [a.example]\n{parameters}", tmp_path), name, "not taken")


RELAY_DOMAINS = """
relay_domains = one.example, two.example, three.example, four.example
relay_transport = relay
transport_maps = inline:{
  {one.example = smtp:[192.0.2.1]:26},
  {two.example = relay:provider.example},
  {three.example = lmtp:inet:192.0.2.3},
  {other.example = smtp:[192.0.2.4]}, }
smtp_tls_policy_maps = inline:{ {[192.0.2.1]:26 = none}, {provider.example = secure}, {four.example = encrypt} }
lmtp_tls_security_level = encrypt
smtp_fallback_relay = [192.0.2.9]
"""


def test_the_next_hop_of_a_relay_domain_becomes_its_server_and_keeps_its_tls_level(tmp_path: Path) -> None:
    plan = plan_of(RELAY_DOMAINS, tmp_path)
    domains = {each["domain"]: each.get("next_hop") for each in plan.objects["relay_domains"]}
    assert domains == {
        "one.example": {"kind": "smtp", **host("192.0.2.1", 26), "tls": "none"},
        "two.example": {
            "kind": "smtp",
            **host("mx1.provider.example"),
            "fallback_hosts": [host("mx2.provider.example")],
            "tls": "verify",
        },
        "four.example": None,
    }
    (local,) = plan.objects["local_domains"]
    assert local["mailbox"] == {"kind": "lmtp", **host("192.0.2.3", 24), "tls": "encrypt"}
    (rule,) = plan.objects["relay_rules"]
    assert rule["targets"] == ["other.example"]
    assert rule["relay_host"] == {**host("192.0.2.4"), "fallback_hosts": [host("192.0.2.9")]}
    assert "four.example: a relay domain" in texts(plan, "smtp_tls_policy_maps", "not taken")
    assert "same TLS level" in texts(plan, "smtp_fallback_relay", "not taken")


@pytest.mark.parametrize(
    ("delay", "rate", "level"), [("1s", 60, "taken"), ("20s", 3, "taken"), ("7s", 8, "partly"), ("2m", 1, "partly")]
)
def test_a_pause_between_deliveries_becomes_a_limit_of_messages_per_minute(
    delay: str, rate: int, level: str, tmp_path: Path
) -> None:
    plan = plan_of(f"default_destination_rate_delay = {delay}", tmp_path)
    assert plan.settings["queue"]["max_messages_per_minute_per_destination"] == rate
    assert texts(plan, "default_destination_rate_delay", level)
