"""Log lines that are rendered without the JSON library have the form of all other lines, whatever text is in them."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from libs.runtime.refusal_sample import LINES_OF_CLIENT
from libs.smtp.parameters import NO_MAIL_PARAMETERS
from libs.smtp.reply import Reply
from services.ingress.mail_log import MailLog
from services.ingress.session import Listener, Peer, SessionFacts, Stage, Transaction
from services.ingress.submission import Submission
from services.ingress.verdict import Action, Verdict

SESSION = SessionFacts("0" * 32, Peer("2001:db8::7", 40000, "2001:db8::1", 25), Listener.SMTP, 0)
VERDICT = Verdict(Action.REJECT, Reply(554, "5.7.1", "no"), reason_id="relay_denied", rule_id="r\n1")

pytestmark = pytest.mark.usefixtures("log_to_standard_error")


def _submission(sender: bytes) -> Submission:
    transaction = Transaction(sender, NO_MAIL_PARAMETERS)
    return Submission("1" * 32, SESSION, transaction, None, 1234, 0)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def at_info() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    yield
    root.setLevel(level)


def test_lines_are_json_of_the_form_of_every_other_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = MailLog()
    log.stored(_submission('"a\u2028b\\""@example.org'.encode()), "Q1", answered=False)
    log.rejected(SESSION, Stage.RCPT, VERDICT)
    stored, rejected = map(json.loads, capsys.readouterr().err.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stored.pop("timestamp"))
    assert stored == {
        "level": "info",
        "service": "ingress",
        "event": "submission_stored",
        "session_id": "0" * 32,
        "submission_id": "1" * 32,
        "queue_id": "Q1",
        "client": "2001:db8::7",
        "sender": '"a\u2028b\\""@example.org',
        "recipients": 0,
        "size": 1234,
        "answered": False,
    }
    del rejected["timestamp"]
    assert rejected == {
        "level": "info",
        "service": "ingress",
        "event": "verdict",
        "session_id": "0" * 32,
        "client": "2001:db8::7",
        "stage": "RCPT",
        "code": 554,
        "reason_id": "relay_denied",
        "rule_id": "r\n1",
    }


def test_lines_about_rejections_are_bounded_and_their_number_is_logged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000
    monkeypatch.setattr("services.ingress.mail_log.time.time_ns", lambda: now * 1_000_000_000)
    log = MailLog()
    for _ in range(5_000):
        log.rejected(SESSION, Stage.RCPT, VERDICT)
    other = dataclasses.replace(SESSION, peer=Peer("192.0.2.9", 40000, "192.0.2.1", 25))
    log.rejected(other, Stage.RCPT, VERDICT)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < LINES_OF_CLIENT + 20
    assert json.loads(lines[-1])["client"] == "192.0.2.9"
    now += 60
    with capture_logs() as told:
        log.stored(_submission(b""), "Q1", answered=True)
    assert told[0]["event"] == "refusals_not_logged"
    assert told[0]["refusals"] + len(lines) == 5_001
    assert told[0]["largest"] == "2001:db8::/64"


def test_a_log_level_above_info_writes_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().setLevel(logging.WARNING)
    log = MailLog()
    log.stored(_submission(b""), "Q1", answered=True)
    log.rejected(SESSION, Stage.MAIL, VERDICT)
    assert not capsys.readouterr().err
