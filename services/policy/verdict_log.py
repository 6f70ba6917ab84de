"""The `verdict` log line: one a decision, rendered by hand because it is the one log line on the hot path."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import TextIO

from services.policy.metrics import VERDICT_LINES_LOST
from services.policy.rules.model import Action, Facts, Stage, Verdict

_quoted: Callable[[str], str] = encode_basestring_ascii


@lru_cache(maxsize=16_384)
def _shown(address: bytes) -> str:
    return _quoted(address.decode("utf-8", "replace"))


_STAGES = {stage.value: stage.name.lower() for stage in Stage}
_MAIL = Stage.MAIL.value
_ACTIONS = {action: action.name.lower() for action in Action}


class VerdictLog:
    """Gathers the lines of a turn and writes them at once; same pipeline, levels and form as the process's log."""

    def __init__(self, level: str, out: TextIO | None = None) -> None:
        self._on = level.lower() in ("debug", "info")
        self._console = os.environ.get("POSTHOUSE_LOG_FORMAT") == "console"
        self._out = out or sys.stderr
        self._lines: list[str] = []
        self._second = 0
        self._stamp = ""

    def add(self, facts: Facts, verdict: Verdict, revision: int) -> None:
        if not self._on:
            return
        now = facts.now
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        # What every line has; names of stages, actions, reasons and addresses need no escaping.
        fields = (
            f'"timestamp": "{self._stamp}.{int((now - second) * 1e6):06d}Z", "level": "info", "event": "verdict", '
            f'"service": "policy", "session_id": {_quoted(facts.session_id)}, "client": "{facts.client.address}", '
            f'"stage": "{_STAGES[facts.stage]}", "action": "{_ACTIONS[verdict.action]}", "revision": {revision}'
        )
        if verdict.reason_id:
            fields += f', "reason_id": "{verdict.reason_id}"'
            if verdict.rule_id:
                fields += f', "rule_id": {_quoted(verdict.rule_id)}'
            if verdict.reply is not None:
                fields += f', "code": {verdict.reply.code}, "enhanced_code": "{verdict.reply.enhanced}"'
        if facts.account is not None:
            fields += f', "account": {_quoted(facts.account.login)}'
        if facts.stage >= _MAIL:
            recipient = facts.recipient.wire
            if recipient:
                fields += f', "sender": {_shown(facts.sender.wire)}, "recipient": {_shown(recipient)}'
            else:
                fields += f', "sender": {_shown(facts.sender.wire)}'
        if verdict.shadow:
            names = ", ".join(f'"{outcome.reason_id}"' for outcome in verdict.shadow)
            fields += f', "shadow": [{names}]'
        if verdict.quarantine:
            fields += ', "quarantine": true'
        self._lines.append(f"{{{fields}}}\n")

    def flush(self) -> None:
        """Writes what gathered. Where it can't be written it is lost and counted, and decisions go on (C133)."""
        if self._lines:
            lines, self._lines = self._lines, []
            try:
                self._out.write("".join(map(_console, lines) if self._console else lines))
                self._out.flush()
            except (OSError, ValueError):
                VERDICT_LINES_LOST.inc(len(lines))


def _console(line: str) -> str:
    """As structlog's key=value form begins: time, level, event, then the rest."""
    fields = json.loads(line)
    ordered = {key: fields.pop(key) for key in ("timestamp", "level", "event")} | fields
    return " ".join(f"{key}={value!r}" for key, value in ordered.items()) + "\n"
