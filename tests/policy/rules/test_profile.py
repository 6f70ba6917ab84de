"""The stages in a session profile follow from the rules, so ingress asks at each stage that has a rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.policy.rules import evaluate
from services.policy.rules.evaluate import Rulebook
from services.policy.rules.model import Facts, Listener, Rule, RuleMatch, Snapshot, Stage, always
from services.policy.rules.profile import session_profile
from tests.policy.world import LOCAL, STRANGER, TRUSTED, snapshot

_ALWAYS = {Stage.CONNECT, Stage.AUTH, Stage.RCPT}
_QUIET: dict[str, Any] = {
    "advanced_security": {"reject_unauthorized_pipelining": "off", "max_junk_commands": 0},
    "connection_policy": {"max_concurrent_connections": 0},
}


def _session(under: Snapshot, client: str = STRANGER, listener: Listener = Listener.SMTP, login: str = "") -> Facts:
    return Facts(Stage.CONNECT, 0.0, "", under.clients.find(client), listener, account=under.accounts.get(login))


def _asked(under: Snapshot, **session: Any) -> set[Stage]:
    return set(session_profile(_session(under, **session), Rulebook(under)).ask_stages)


def _object(_facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    return None


@pytest.mark.parametrize("stage", list(Stage))
def test_ingress_asks_at_the_stage_of_a_new_rule(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    under = snapshot(_QUIET)
    before = _asked(under)
    assert before == _ALWAYS
    monkeypatch.setattr(evaluate, "RULES", (*evaluate.RULES, Rule("new_rule", stage, always, _object)))
    assert _asked(under) == before | {stage}


@pytest.mark.parametrize("stage", [Stage.HELO, Stage.DATA, Stage.END_OF_DATA])
def test_ingress_does_not_ask_for_a_rule_that_it_applies_itself_or_that_applies_to_no_session(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    under = snapshot(_QUIET)
    rule = Rule("new_rule", stage, always, _object)
    for unasked in (
        replace(rule, applied_by_ingress=True),
        replace(rule, session_exempt=lambda _facts, _snapshot: "all"),
    ):
        monkeypatch.setattr(evaluate, "RULES", (*evaluate.RULES, unasked))
        assert _asked(under) == _ALWAYS


def test_ingress_asks_at_each_stage_with_a_rule_that_is_on() -> None:
    for changes, stage in (
        ({"connection_policy": {"max_messages_per_minute": 5}}, Stage.MAIL),
        ({"content_checks": {"dkim": "shadow"}}, Stage.END_OF_DATA),
        ({"content_checks": {"dmarc": "enforce"}}, Stage.END_OF_DATA),
        ({"content_checks": {"antivirus": {"mode": "enforce", "clamd": "127.0.0.1:3310"}}}, Stage.END_OF_DATA),
        ({"content_checks": {"spf": {"mode": "shadow"}}}, Stage.END_OF_DATA),
        ({"content_checks": {"arc": True}}, Stage.END_OF_DATA),
        ({"connection_policy": {"reject_unknown_client_hostname": "shadow"}}, Stage.END_OF_DATA),
        ({"advanced_security": {"max_junk_commands": 5}}, Stage.JUNK_COMMAND),
        ({"advanced_security": {"reject_unauthorized_pipelining": "shadow"}}, Stage.PIPELINING),
    ):
        merged = {name: {**_QUIET.get(name, {}), **value} for name, value in {**_QUIET, **changes}.items()}
        assert _asked(snapshot(merged)) == _ALWAYS | {stage}, changes


def test_ingress_does_not_ask_about_sessions_that_are_exempt() -> None:
    rate = snapshot({**_QUIET, "connection_policy": {"max_messages_per_minute": 5, "max_concurrent_connections": 0}})
    assert _asked(rate, client=TRUSTED) == _ALWAYS
    assert _asked(rate, client=LOCAL) == _ALWAYS | {Stage.MAIL}
    judged = snapshot({**_QUIET, "content_checks": {"dkim": "enforce", "dmarc": "enforce"}})
    assert _asked(judged, client=TRUSTED) == _ALWAYS
    quiet = snapshot(_QUIET)
    assert _asked(quiet, listener=Listener.SUBMISSION) == _ALWAYS | {Stage.MAIL}
    assert _asked(quiet, listener=Listener.SUBMISSION, client=TRUSTED) == _ALWAYS
    # The From address must belong to the account, and Authentication-Results names the login, so END_OF_DATA is needed.
    assert _asked(quiet, login="alice") == _ALWAYS | {Stage.END_OF_DATA}
    assert _asked(quiet, listener=Listener.SUBMISSION, login="alice") == _ALWAYS | {Stage.END_OF_DATA}
