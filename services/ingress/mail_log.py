"""The two log lines of the hot path, `submission_stored` and `verdict`: rendered by hand, written a turn at a time.

structlog takes a tenth of a millisecond for such a line, as long as ingress takes for the rest of a short message.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import TextIO

from services.ingress.session import Session, Stage
from services.ingress.submission import Submission
from services.ingress.verdict import Verdict

# Escapes control characters and everything beyond ASCII, so that one event is always one line (C37).
_quoted: Callable[[str], str] = encode_basestring_ascii


class MailLog:
    """Lines of the same pipeline, levels and form as the process's log. Used within a running event loop.

    What is added in one turn of the loop is written at once, at its end.
    """

    def __init__(self, level: str, out: TextIO | None = None) -> None:
        self._on = level.lower() in ("debug", "info")
        self._console = os.environ.get("POSTHOUSE_LOG_FORMAT") == "console"
        self._out = out
        self._lines: list[str] = []
        self._lost = 0
        self._second = 0
        self._stamp = ""

    def stored(self, submission: Submission, queue_id: str, *, answered: bool) -> None:
        """A message is relay's now. Not `answered`: the client left before, and may send it again (C34)."""
        if not self._on:
            return
        session, transaction = submission.session, submission.transaction
        self._add(
            f'"event": "submission_stored", "session_id": "{session.id}", "submission_id": "{submission.id}", '
            f'"queue_id": {_quoted(queue_id)}, "client": "{session.peer.client_address}", '
            f'"sender": {_quoted(transaction.sender.decode())}, "recipients": {len(transaction.recipients)}, '
            f'"size": {submission.size}, "answered": {"true" if answered else "false"}'
        )

    def rejected(self, session: Session, stage: Stage, verdict: Verdict) -> None:
        """policy said no."""
        if not self._on:
            return
        code = verdict.reply.code if verdict.reply is not None else 0
        self._add(
            f'"event": "verdict", "session_id": "{session.id}", "client": "{session.peer.client_address}", '
            f'"stage": "{stage.name}", "code": {code}, "reason_id": {_quoted(verdict.reason_id)}, '
            f'"rule_id": {_quoted(verdict.rule_id)}'
        )

    def _add(self, fields: str) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        now = time.time_ns() // 1000
        second = now // 1_000_000
        if second != self._second:
            self._second = second
            self._stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        stamp = f"{self._stamp}.{now % 1_000_000:06d}Z"
        self._lines.append(f'{{"timestamp": "{stamp}", "level": "info", "service": "ingress", {fields}}}\n')

    def flush(self) -> None:
        """Writes what gathered. A full disk costs lines and nothing else; how many is said afterwards (C133)."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        out = self._out or sys.stderr
        try:
            if self._lost:
                out.write(f'{{"event": "log_lines_lost", "level": "error", "count": {self._lost}}}\n')
            out.write("".join(map(_console, lines) if self._console else lines))
            out.flush()
            self._lost = 0
        except (OSError, ValueError):
            self._lost += len(lines)


def _console(line: str) -> str:
    """As structlog's key=value form begins: time, level, event, then the rest."""
    fields = json.loads(line)
    ordered = {key: fields.pop(key) for key in ("timestamp", "level", "event")} | fields
    return " ".join(f"{key}={value!r}" for key, value in ordered.items()) + "\n"
