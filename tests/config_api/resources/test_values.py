"""Values that would have no effect, or too much effect: patterns, A-labels, times (F27, F34, F35)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config_api.service import Service

QUEUE = "/v1/settings/queue"


@pytest.mark.parametrize(
    ("criterion", "value", "names"),
    [
        ("sender", "*@spam.test", "criterion domain"),
        ("sender", "@spam.test", "criterion domain"),
        ("sender", "spam.test", "criterion domain"),
        ("sender", "a*@spam.test", "criterion domain"),
        ("sender", "user@*.spam.test", "criterion domain"),
        ("recipient", "*@ours.test", "full address"),
        ("ip", "192.0.2.0/24", "criterion network"),
        ("ip", "192.0.2.*", "criterion network"),
        ("network", "192.0.2.*", "CIDR"),
        ("domain", "*.spam.test", ".example.com"),
    ],
)
async def test_f27_the_refusal_of_a_pattern_names_the_criterion_to_use(
    on_sqlite: Service, criterion: str, value: str, names: str
) -> None:
    body = {"list": "block", "criterion": criterion, "value": value}
    answer = await on_sqlite.api.post("/v1/access-rules", json=body)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["pointer"] == "/value"
    assert names in error["detail"]


async def test_f27_block_rules_and_allow_rules_may_have_the_criterion_domain(service: Service) -> None:
    for list_name in ("block", "allow"):
        for value in ("spam.test", ".spam.test"):
            body = {"list": list_name, "criterion": "domain", "value": value}
            made = await service.make("access-rules", body)
            assert (made["value"], made["canonical"]) == (value, value)
    policy, _ = await service.policy(lambda snapshot: len(snapshot.access_rules) == 4)
    assert {rule.value for rule in policy.access_rules} == {"spam.test", ".spam.test"}


async def test_a_network_is_shown_as_it_was_written_with_its_canonical_form(service: Service) -> None:
    body = {"list": "block", "criterion": "network", "value": "192.163.1.1/255.100.10.1"}
    made = await service.make("access-rules", body)
    assert (made["value"], made["canonical"]) == ("192.163.1.1/255.100.10.1", "192.32.0.1/255.100.10.1")
    policy, _ = await service.policy(lambda snapshot: snapshot.access_rules)
    assert policy.access_rules[0].value == "192.32.0.1/255.100.10.1"


@pytest.mark.parametrize(
    ("kind", "body", "pointer"),
    [
        ("accounts", {"login": "a", "addresses": ["*@ours.test"]}, "/addresses/0"),
        ("aliases", {"address": "*@ours.test", "targets": ["a@ours.test"]}, "/address"),
        ("aliases", {"address": "a@ours.test", "targets": ["*@ours.test"]}, "/targets/0"),
        ("recipients", {"address": "*@r.test"}, "/address"),
        (
            "relay-rules",
            {
                "name": "x",
                "type": "sender",
                "target_type": "address",
                "targets": ["*@a.test"],
                "relay_host": {"host": "smart.test"},
            },
            "/targets/0",
        ),
        (
            "relay-rules",
            {
                "name": "x",
                "type": "sender",
                "target_type": "domain",
                "targets": ["*.a.test"],
                "relay_host": {"host": "smart.test"},
            },
            "/targets/0",
        ),
    ],
)
async def test_f27_no_address_of_the_configuration_is_a_pattern(
    on_sqlite: Service, kind: str, body: dict[str, Any], pointer: str
) -> None:
    answer = await on_sqlite.api.post(f"/v1/{kind}", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


BAD = "xn--zzzzzz99999.example"


@pytest.mark.parametrize(
    ("kind", "body", "pointer"),
    [
        ("local-domains", {"name": BAD}, "/name"),
        ("local-domains", {"name": "XN--ZZZZZZ99999.example."}, "/name"),
        ("local-domains", {"name": "a.test", "mailbox": {"kind": "smtp", "host": BAD}}, "/mailbox/host"),
        ("relay-domains", {"domain": f"a.{BAD}"}, "/domain"),
        ("accounts", {"login": "a", "addresses": [f"a@{BAD}"]}, "/addresses/0"),
        ("aliases", {"address": "a@b.test", "targets": [f"a@{BAD}"]}, "/targets/0"),
        ("access-rules", {"list": "allow", "criterion": "domain", "value": BAD}, "/value"),
        ("access-rules", {"list": "allow", "criterion": "sender", "value": f"a@{BAD}"}, "/value"),
        ("dkim-keys", {"domain": BAD, "selector": "a"}, "/domain"),
        ("tls-policies", {"domain": f".{BAD}", "level": "encrypt"}, "/domain"),
        ("webhooks", {"url": f"https://{BAD}/x", "events": ["bounced"]}, "/url"),
        (
            "relay-rules",
            {
                "name": "x",
                "type": "sender",
                "target_type": "domain",
                "targets": [f".{BAD}"],
                "relay_host": {"host": "smart.test"},
            },
            "/targets/0",
        ),
    ],
)
async def test_f35_a_label_in_the_form_of_an_a_label_must_be_valid(
    on_sqlite: Service, kind: str, body: dict[str, Any], pointer: str
) -> None:
    answer = await on_sqlite.api.post(f"/v1/{kind}", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_f35_settings_are_checked_for_a_labels_and_real_ones_are_accepted(on_sqlite: Service) -> None:
    for path, patch in (
        ("general", {"profile": {"hostname": BAD}}),
        ("general", {"external_postmasters": [f"a@{BAD}"]}),
        ("content-checks", {"dnsbl": {"zones": [{"zone": BAD}]}}),
        ("content-checks", {"antivirus": {"clamd": f"{BAD}:3310"}}),
        ("delivery", {"relay_host": {"host": BAD}}),
    ):
        answer = await on_sqlite.api.patch(f"/v1/settings/{path}", json=patch, headers={"If-Match": "*"})
        assert answer.status_code == 422, (path, answer.text)
    made = await on_sqlite.make("local-domains", {"name": "XN--BCHER-KVA.example"})
    assert made["name"] == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"expire_after_hours": 1e-7}, "/expire_after_hours"),
        ({"expire_after_hours": 0.05}, "/expire_after_hours"),
        ({"bounce_expire_hours": 1e-7}, "/bounce_expire_hours"),
        ({"bounce_expire_hours": 0.05}, "/bounce_expire_hours"),
        ({"delay_notice_after_hours": 1e-7}, "/delay_notice_after_hours"),
        ({"delay_notice_after_hours": 0.05}, "/delay_notice_after_hours"),
        ({"retry_schedule": {"first_minutes": 1e-7}}, "/retry_schedule/first_minutes"),
        (
            {"retry_schedule": {"first_minutes": 600, "max_minutes": 600}, "expire_after_hours": 5},
            "/expire_after_hours",
        ),
        ({"retention_days": 1e-7}, "/retention_days"),
        ({"retry_schedule": {"growth": 0.5}}, "/retry_schedule/growth"),
    ],
)
async def test_f34_times_have_sensible_bounds(on_sqlite: Service, patch: dict[str, Any], pointer: str) -> None:
    answer = await on_sqlite.api.patch(QUEUE, json=patch, headers={"If-Match": "*"})
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_f34_sensible_times_are_accepted(on_sqlite: Service) -> None:
    for patch in (
        {"delay_notice_after_hours": 0},
        {"retention_days": 0},
        {"expire_after_hours": 5 / 60, "bounce_expire_hours": 5 / 60},
        {"retry_schedule": {"first_minutes": 0.01}, "expire_after_hours": 1 / 3600},
    ):
        await on_sqlite.change(QUEUE, patch)
    changed = await on_sqlite.change(QUEUE, {"delay_notice_after_hours": 4})
    assert [warning["code"] for warning in changed["warnings"]] == ["never"]
