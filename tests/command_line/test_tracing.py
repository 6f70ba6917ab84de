"""The requests that `posthouse why` sends, and what it prints of the answers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from services.command_line import tracing
from services.command_line.failures import CommandError, ExitStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

REPLY = {"code": 554, "enhanced_code": "5.7.1", "text": "5.7.1 Blocked"}


def _rule(**members: Any) -> dict[str, Any]:
    return {
        "stage": "end_of_data",
        "reason_id": "blocked_domain",
        "rule_id": None,
        "outcome": "pass",
        "skipped_by": None,
        "reply": None,
        "explanation": "",
        **members,
    }


class Api:
    """Answers the two requests of `posthouse why`, and stores them in `asked`."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.listed: list[dict[str, Any]] = []
        self.session: dict[str, Any] = {
            "action": "accept",
            "reply": None,
            "reason_id": None,
            "rule_id": None,
            "rules": [],
        }
        self.route: dict[str, Any] = {
            "recipient": "info@ours.test",
            "kind": "relay_host",
            "destination": "relay:smart.test:25",
            "rules": [],
            "hosts": [],
            "tls_policy": None,
            "verify_certificate": False,
            "auth_username": None,
            "code": None,
            "enhanced_code": None,
            "reason": None,
        }

    def call(self, _: object, name: str, *, body: Any) -> dict[str, Any]:
        self.asked[name] = body.to_dict()
        return self.session if name == "explain.explain_session" else {"routes": [self.route]}

    def items(self, _: object, name: str, filters: dict[str, Any], *, most: int) -> list[dict[str, Any]]:
        assert (name, most) == ("queue.list_message_history", 1)
        self.listed.append(filters)
        return [each for each in self.history if filters.items() - {("state", "rejected")} <= each.items()]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    @contextmanager
    def connected() -> Iterator[None]:
        yield None

    made = Api()
    monkeypatch.setattr(tracing, "connected", connected)
    monkeypatch.setattr(tracing, "call", made.call)
    monkeypatch.setattr(tracing, "items", made.items)
    return made


def test_for_an_address_its_newest_refused_mail_is_explained(api: Api) -> None:
    api.history = [
        {"received_at": "2026-01-02", "origin": {"session_id": "b" * 32}, "sender": "a@far.test"},
        {"received_at": "2026-01-01", "origin": {"session_id": "a" * 32}, "recipient": "a@far.test"},
    ]
    tracing.why("a@far.test")
    assert api.listed == [
        {"sender": "a@far.test", "state": "rejected"},
        {"recipient": "a@far.test", "state": "rejected"},
    ]
    assert api.asked["explain.explain_session"] == {"kind": "past", "session_id": "b" * 32}


def test_for_an_address_without_refusals_the_error_names_the_next_command(api: Api) -> None:
    with pytest.raises(CommandError, match="posthouse trace"):
        tracing.why("a@far.test")


@pytest.mark.parametrize(
    "arguments", [{}, {"what": "a@far.test", "client": "192.0.2.1"}, {"what": "a@far.test", "recipient": "b@far.test"}]
)
def test_missing_or_contradictory_arguments_are_wrong_usage(api: Api, arguments: dict[str, Any]) -> None:
    with pytest.raises(CommandError) as refused:
        tracing.why(**arguments)
    assert refused.value.status is ExitStatus.USAGE
    assert api.asked == {}


def test_the_route_of_refused_mail_is_shown_as_hypothetical(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.session["action"] = "reject"
    api.route |= {"kind": "failed", "destination": "fail"}
    tracing.why(client="192.0.2.1", recipient="info@ours.test")
    shown = capsys.readouterr().out
    assert "If it were accepted: info@ours.test would be returned to the sender.\n" in shown
    assert "Its destination" not in shown


def test_a_proposed_rule_is_part_of_the_request(api: Api) -> None:
    tracing.why(client="192.0.2.1", proposed_rule=["list=block", "criterion=domain", "value=far.test"])
    assert api.asked["explain.explain_session"] == {
        "kind": "hypothetical",
        "facts": {"client_address": "192.0.2.1", "stage": "connect"},
        "proposed_rule": {"list": "block", "criterion": "domain", "value": "far.test"},
    }


def test_the_request_contains_no_rule_when_none_is_proposed(api: Api) -> None:
    tracing.why(client="192.0.2.1")
    assert "proposed_rule" not in api.asked["explain.explain_session"]


def test_a_past_session_cannot_be_explained_with_a_proposed_rule(api: Api) -> None:
    with pytest.raises(CommandError, match="--proposed-rule needs --client") as refused:
        tracing.why(session="0" * 32, proposed_rule=["list=block"])
    assert (refused.value.status, api.asked) == (ExitStatus.USAGE, {})


def test_the_proposed_rule_is_marked_among_the_others(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.session.update(action="reject", reply=REPLY, reason_id="blocked_domain", rule_id="proposed")
    api.session["rules"] = [_rule(), _rule(rule_id="proposed", outcome="decided", reply=REPLY)]
    tracing.why(client="192.0.2.1")
    first, *table = capsys.readouterr().out.splitlines()
    assert first == "This would be refused by the rule blocked_domain that is proposed: 554 5.7.1 Blocked"
    assert [line.startswith("end of data") for line in table[1:]] == [True, True]
    assert ["(proposed)" in line for line in table[1:]] == [False, True]


def test_a_route_is_described_in_the_words_of_the_console(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    rule = {"kind": "sender_rule", "rule_id": "x", "name": "smart", "won": True, "reason": "It matches."}
    api.route.update(tls_policy="encrypt", verify_certificate=True, auth_username="gateway", rules=[rule])
    tracing.why(client="192.0.2.1", recipient="info@ours.test")
    printed = capsys.readouterr().out
    assert "TLS: encrypt, with a valid certificate.\nLogs in as gateway.\n" in printed
    assert "sender rule" in printed
    assert "_" not in printed


def test_a_failed_route_shows_its_codes(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.route.update(kind="failed", destination=None, code=550, enhanced_code="5.1.1", reason="There is no such user.")
    tracing.why(client="192.0.2.1", recipient="info@ours.test")
    assert "Fails with 550 5.1.1.\nThere is no such user.\n" in capsys.readouterr().out
