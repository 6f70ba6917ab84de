"""Many refusals fill neither the log nor the history: each client has a share; refusals above it are only counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY

from services.policy import history as history_module
from services.policy.history import History
from services.policy.rules.model import Facts, Stage, Verdict
from tests.policy.requests import rcpt, replied
from tests.policy.serving import serving
from tests.policy.world import snapshot

NOW = 1_800_000_000.0


async def test_lines_about_refusals_are_sampled_and_their_number_is_logged() -> None:
    now = NOW
    before = REGISTRY.get_sample_value("posthouse_policy_refusals_unlogged_total") or 0.0
    async with serving(snapshot(), clock=lambda: now) as policy, policy.stream() as stream:
        for _ in range(4):
            flood = [rcpt("ghost@local.test", client=f"192.0.2.{number % 256}") for number in range(500)]
            assert {replied(verdict) for verdict in await stream.ask(*flood)} == {"550 5.1.1"}
        await stream.ask(rcpt("ghost@local.test", client="203.0.113.7"), rcpt("alice@local.test"))
        lines = [json.loads(line) for line in policy.log.getvalue().splitlines()]
        assert (
            len([line for line in lines if line["client"].startswith("192.0.2.") and line["action"] == "reject"]) < 100
        )
        # Refusals of another client and acceptances are still logged.
        assert [line["client"] for line in lines[-2:]] == ["203.0.113.7", "192.0.2.10"]
        unlogged = (REGISTRY.get_sample_value("posthouse_policy_refusals_unlogged_total") or 0.0) - before
        assert unlogged + len(lines) == 2002
        now += 60
        with structlog.testing.capture_logs() as told:
            await stream.ask(rcpt("alice@local.test"))
    (event,) = [one for one in told if one["event"] == "refusals_not_logged"]
    assert (event["refusals"], event["largest"]) == (unlogged, "192.0.2.0/24")


# The history of sessions


def _add(history: History, session: str, client: str, kept: bytes = b"x" * 100) -> None:
    under = _UNDER
    history.add(kept, Facts(Stage.RCPT, NOW, session, under.clients.find(client)), Verdict(), under)


_UNDER = snapshot({"accounts": []})


def _kept(history: History, *sessions: str) -> list[int]:
    return [len(history.of_session(session)) for session in sessions]


def test_sessions_of_one_network_displace_only_their_own() -> None:
    history = History(100)
    for number in range(50):
        _add(history, f"honest{number}", f"203.0.{number}.1")
    for number in range(1000):
        _add(history, f"flood{number}", f"192.0.2.{number % 256}")
    assert _kept(history, *(f"honest{number}" for number in range(50))) == [1] * 50
    assert _kept(history, "flood0", "flood999") == [0, 1]


@pytest.mark.parametrize("decisions", [3, 400])
def test_octets_are_bounded_for_each_session_and_in_total(decisions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_MOST_OCTETS", 100_000)
    monkeypatch.setattr(history_module, "_MOST_OCTETS_OF_SESSION", 5_000)
    history = History(1000)
    _add(history, "honest", "203.0.113.1")
    for session in range(100):
        for _ in range(decisions):
            _add(history, f"flood{session}", "192.0.2.1", b"x" * 1000)
    sessions: dict[str, Any] = history._kept
    octets = sum(len(past.kept) for session in sessions for past in history.of_session(session))
    assert octets == history._octets
    assert octets <= 100_000
    assert max(one.octets for one in sessions.values()) <= 5_000
    assert _kept(history, "honest") == [1]
    assert len(history.of_session("flood99")) == min(decisions, 5)
