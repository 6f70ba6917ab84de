"""The hot path's log lines: of the form of every other line, whatever is in them; a full disk is no message's fault."""

from __future__ import annotations

import asyncio
import io
import json
import re
from typing import Any

import pytest

from libs.smtp.parameters import NO_MAIL_PARAMETERS
from libs.smtp.reply import Reply
from services.ingress.mail_log import MailLog
from services.ingress.session import Listener, Peer, Session, Stage, Transaction
from services.ingress.submission import Submission
from services.ingress.verdict import Action, Verdict

SESSION = Session("0" * 32, Peer("2001:db8::7", 40000, "2001:db8::1", 25), Listener.SMTP, 0)
VERDICT = Verdict(Action.REJECT, Reply(554, "5.7.1", "no"), reason_id="relay_denied", rule_id="r\n1")


def _submission(sender: bytes) -> Submission:
    transaction = Transaction(sender, NO_MAIL_PARAMETERS)
    return Submission("1" * 32, SESSION, transaction, None, 1234, 0)  # type: ignore[arg-type]


async def _turn() -> None:
    await asyncio.sleep(0)


async def test_a_turn_s_lines_are_json_and_are_written_at_its_end() -> None:
    out = io.StringIO()
    log = MailLog("info", out)
    log.stored(_submission('"a\u2028b\\""@example.org'.encode()), "Q1", answered=False)
    log.rejected(SESSION, Stage.RCPT, VERDICT)
    assert not out.getvalue()
    await _turn()
    stored, rejected = map(json.loads, out.getvalue().splitlines())
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


async def test_a_level_above_info_writes_nothing() -> None:
    out = io.StringIO()
    log = MailLog("warning", out)
    log.stored(_submission(b""), "Q1", answered=True)
    log.rejected(SESSION, Stage.MAIL, VERDICT)
    await _turn()
    assert not out.getvalue()


async def test_the_form_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHOUSE_LOG_FORMAT", "console")
    out = io.StringIO()
    MailLog("info", out).rejected(SESSION, Stage.MAIL, VERDICT)
    await _turn()
    (line,) = out.getvalue().splitlines()
    assert re.match(r"timestamp='[^']+' level='info' event='verdict' service='ingress' ", line)


class _FullDisk(io.StringIO):
    full = True

    def write(self, text: Any) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


async def test_c133_a_full_disk_costs_lines_and_nothing_else() -> None:
    out = _FullDisk()
    log = MailLog("info", out)
    for _ in range(3):
        log.stored(_submission(b"a@example.org"), "Q1", answered=True)
    await _turn()
    out.full = False
    log.stored(_submission(b"a@example.org"), "Q2", answered=True)
    await _turn()
    lost, stored = map(json.loads, out.getvalue().splitlines())
    assert (lost["event"], lost["count"]) == ("log_lines_lost", 3)
    assert stored["queue_id"] == "Q2"
