"""The API's settings of servers of relay domains, of lists of servers, and of TLS policies."""

from __future__ import annotations

from typing import Any

from posthouse.config.v1 import config_pb2 as pb

from tests.config_api.service import Service

HOP = {"kind": "lmtp", "host": "mail.example", "tls": "verify", "fallback_hosts": [{"host": "b.example", "port": 24}]}


def _codes(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(warning["pointer"], warning["code"]) for warning in answer["warnings"]]


async def test_relay_gets_next_hops_lists_policies_and_the_rate(service: Service) -> None:
    await service.make("relay-domains", {"domain": "a.example", "recipients": "list", "next_hop": HOP})
    host = {"host": "smart.example", "fallback_hosts": [{"host": "192.0.2.7", "port": 2525}]}
    rule = {"name": "r", "type": "recipient", "target_type": "domain", "targets": ["b.example"], "relay_host": host}
    await service.make("relay-rules", rule)
    await service.make("tls-policies", {"domain": ".C.example", "level": "encrypt"})
    await service.change("/v1/settings/queue", {"max_messages_per_minute_per_destination": 30})
    relay, _ = await service.relay(lambda found: found.queue.max_messages_per_minute_per_destination)
    (domain,) = relay.relay_domains
    hop = domain.next_hop
    assert (hop.kind, hop.host, hop.port, hop.tls) == (pb.Mailbox.KIND_LMTP, "mail.example", 24, pb.TLS_LEVEL_VERIFY)
    assert [(each.host, each.port) for each in hop.fallback_hosts] == [("b.example", 24)]
    assert [(each.host, each.port) for each in relay.relay_rules[0].relay_host.fallback_hosts] == [("192.0.2.7", 2525)]
    assert [(policy.domain, policy.level) for policy in relay.tls_policies] == [(".c.example", pb.TLS_LEVEL_ENCRYPT)]


async def test_probable_mistakes_give_warnings_and_wrong_values_are_refused(on_sqlite: Service) -> None:
    # When a relay domain has a server of its own, its MX records are not used.
    made = await on_sqlite.make("relay-domains", {"domain": "a.example", "recipients": "list", "next_hop": HOP})
    assert _codes(made) == [("/recipients", "empty_list")]
    none = await on_sqlite.make("tls-policies", {"domain": "b.example", "level": "none"})
    assert _codes(none) == [("/level", "plaintext")]
    ours = await on_sqlite.make("tls-policies", {"domain": "a.example", "level": "verify"})
    assert _codes(ours) == [("/domain", "not_direct")]
    for kind, body, pointer in (
        ("relay-domains", {"domain": "c.example", "next_hop": {"kind": "maildir", "path": "/x"}}, "/next_hop"),
        ("relay-domains", {"domain": "c.example", "next_hop": {**HOP, "tls": "always"}}, "/next_hop/tls"),
        (
            "relay-domains",
            {"domain": "c.example", "next_hop": {**HOP, "fallback_hosts": [{"host": "x.example", "port": 24}] * 8}},
            "/next_hop/fallback_hosts",
        ),
        ("tls-policies", {"domain": "d.example", "level": "off"}, "/level"),
        ("tls-policies", {"domain": "*.d.example", "level": "may"}, "/domain"),
    ):
        answer = await on_sqlite.api.post(f"/v1/{kind}", json=body)
        assert answer.status_code == 422, body
        assert [error["pointer"] for error in answer.json()["errors"]][:1] == [pointer]
    again = await on_sqlite.api.post("/v1/tls-policies", json={"domain": "B.example", "level": "may"})
    assert again.status_code == 409


async def test_the_password_must_be_given_again_for_other_fallback_hosts(on_sqlite: Service) -> None:
    host = {"host": "smart.example", "always_tls": True, "auth": {"username": "u", "password": "p"}}
    rule = {"name": "r", "type": "sender", "target_type": "domain", "targets": ["b.example"], "relay_host": host}
    made = await on_sqlite.make("relay-rules", rule)
    more = {"relay_host": {"fallback_hosts": [{"host": "other.example", "port": 25}]}}
    answer = await on_sqlite.api.patch(f"/v1/relay-rules/{made['id']}", json=more, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "secret_needed")
