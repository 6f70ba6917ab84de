"""The generated reference is complete: every rule has its settings, every setting exists, and no metric is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import reference_metrics
from scripts.reference_settings import SETTINGS_OF_RULES, answers, document, members, resources
from services.policy.rules.evaluate import RULES

ROOT = Path(__file__).parents[2]
SERVICES = ("ingress", "policy", "relay", "config_api")


def test_every_rule_has_the_settings_that_control_it() -> None:
    assert {rule.reason_id for rule in RULES} <= set(SETTINGS_OF_RULES)
    assert {answer.reason_id for answer in answers()} == set(SETTINGS_OF_RULES)


def test_every_setting_that_is_named_exists() -> None:
    api = document()
    there_are = {f"{path} {member.path}" for path, _, schema in resources(api) for member in members(schema, api)}
    assert {setting for settings in SETTINGS_OF_RULES.values() for setting in settings} <= there_are


@pytest.mark.parametrize(
    ("reason_id", "codes"),
    [
        ("unknown_recipient", {(550, "5.1.1")}),
        ("unknown_sender_domain", {(450, "4.1.8"), (550, "5.1.8"), (550, "5.7.27")}),
        ("blocked_domain", {(554, "5.7.1")}),
        ("recipient_verification", {(451, "4.4.3"), (451, "4.7.1"), (550, "5.1.1"), (552, "5.2.2")}),
        ("auth_refused", {(535, "5.7.8")}),
    ],
)
def test_the_replies_of_a_rule_are_read_from_its_code(reason_id: str, codes: set[tuple[int, str]]) -> None:
    replies = [reply for answer in answers() if answer.reason_id == reason_id for reply in answer.replies]
    assert {(reply.code, reply.enhanced) for reply in replies} == codes


def test_every_rule_that_refuses_has_a_reply() -> None:
    assert [answer.reason_id for answer in answers() if not answer.replies] == []


def test_the_members_of_every_kind_of_mailbox_are_shown() -> None:
    api = document()
    (schema,) = [schema for path, _, schema in resources(api) if path == "/v1/local-domains"]
    shown = {member.path: member.values for member in members(schema, api)}
    assert shown["mailbox.kind"] == "`smtp`, `lmtp`, `maildir`"
    assert {"mailbox.host", "mailbox.port", "mailbox.path"} <= set(shown)


def test_the_metrics_of_alerts_and_dashboard_are_in_the_reference() -> None:
    there_are = reference_metrics.metrics()
    names = {metric.name.replace(reference_metrics.SERVICE, each) for metric in there_are for each in SERVICES}
    histograms = {name + suffix for name in names for suffix in ("_bucket", "_sum", "_count")}
    for file in ("prometheus/alerts.yaml", "grafana/posthouse.json"):
        used = set(reference_metrics.NAME.findall((ROOT / "deploy" / file).read_text("utf-8")))
        assert used <= names | histograms
