"""The log line `delivery_attempt` is rendered without a JSON library.

It is valid JSON whatever peers and clients send.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from services.relay.model.attempt import Outcome, Result, Route, RouteKind
from services.relay.model.message import QueuedDelivery, QueuedMessage, Settled
from services.relay.model.states import Kind, State
from services.relay.scheduler.attempt_log import AttemptLog

pytestmark = pytest.mark.usefixtures("log_to_standard_error")


@pytest.fixture(autouse=True)
def at_info(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("POSTHOUSE_LOG_FORMAT", raising=False)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    yield
    root.setLevel(level)


def test_a_line_has_all_facts_of_the_attempt_and_escapes_foreign_text(capsys: pytest.CaptureFixture[str]) -> None:
    message = QueuedMessage(0xBEEF, Kind.MAIL, b"\xff@one.test", 7, 1, b"content", session_id="s-1")
    delivery = QueuedDelivery(5, b'"a\\"\n"@two.test', 1)
    outcome = Outcome(5, Result.DEFERRED, 451, "4.7.1", 'wait "\x1b\u2028' + "x" * 400, host="mx.two.test")
    settled = Settled(5, State.QUEUED, "domain:two.test", 9, 2, possible_duplicate=True)
    route = Route(RouteKind.DIRECT, "domain:two.test", domain="two.test")
    AttemptLog().add(1_700_000_000_000_007, message, route, delivery, outcome, settled)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.isascii()
    assert json.loads(line) == {
        "timestamp": "2023-11-14T22:13:20.000007Z",
        "level": "info",
        "event": "delivery_attempt",
        "service": "relay",
        "queue_id": "BEEF",
        "session_id": "s-1",
        "sender": "\\xff@one.test",
        "recipient": '"a\\"\n"@two.test',
        "destination": "domain:two.test",
        "result": "deferred",
        "state": "queued",
        "attempts": 2,
        "host": "mx.two.test",
        "code": 451,
        "text": ('wait "\x1b\u2028' + "x" * 400)[:300],
        "possible_duplicate": True,
    }


def test_above_level_info_no_line_is_made() -> None:
    logging.getLogger().setLevel(logging.WARNING)
    assert not AttemptLog().enabled
