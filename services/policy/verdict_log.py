"""The `verdict` log line: one a decision, rendered by hand because it is the one log line on the hot path."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import TextIO

from services.policy.metrics import VERDICT_LINES_LOST
from services.policy.rules.model import Action, Facts, Stage, Verdict

_quoted: Callable[[str], str] = encode_basestring_ascii


_STAGES = ("", *(stage.name.lower() for stage in sorted(Stage)))
# Verdicts whose part of the line is remembered.
_REMEMBERED = 1000
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
        # How the lines of one time begin.
        self._now = -1.0
        self._head = ""
        # What the lines of shared verdicts say of them, by stage.
        self._known: dict[Verdict, list[tuple[str, str] | None]] = {}

    def add(self, facts: Facts, verdict: Verdict, revision: int) -> None:
        if not self._on:
            return
        if facts.now != self._now:
            self._head = self._head_at(facts.now)
        stage = facts.stage
        known = self._known.get(verdict)
        said, end = (known and known[stage]) or self._of_verdict(stage, verdict, revision)
        line = f'{self._head}{_quoted(facts.session_id)}, "client": "{facts.client.address}", {said}'
        if facts.account is not None:
            line += f', "account": {_quoted(facts.account.login)}'
        if stage >= _MAIL:
            recipient = facts.recipient
            if recipient.wire:
                line += f', "sender": {facts.sender.quoted}, "recipient": {recipient.quoted}'
            else:
                line += f', "sender": {facts.sender.quoted}'
        self._lines.append(line + end)

    def _head_at(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._now = now
        return (
            f'{{"timestamp": "{self._stamp}.{int((now - second) * 1e6):06d}Z", "level": "info", "event": "verdict", '
            '"service": "policy", "session_id": '
        )

    def _of_verdict(self, stage: int, verdict: Verdict, revision: int) -> tuple[str, str]:
        """What stands before the parties and after them; names of stages, actions and reasons need no escaping."""
        said = f'"stage": "{_STAGES[stage]}", "action": "{_ACTIONS[verdict.action]}", "revision": {revision}'
        end = ""
        if verdict.reason_id:
            said += f', "reason_id": "{verdict.reason_id}"'
            if verdict.rule_id:
                said += f', "rule_id": {_quoted(verdict.rule_id)}'
            if verdict.reply is not None:
                said += f', "code": {verdict.reply.code}, "enhanced_code": "{verdict.reply.enhanced}"'
        if verdict.shadow:
            names = ", ".join(f'"{outcome.reason_id}"' for outcome in verdict.shadow)
            end = f', "shadow": [{names}]'
        if verdict.quarantine:
            end += ', "quarantine": true'
        parts = (said, f"{end}}}\n")
        if verdict.shared:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known.setdefault(verdict, [None] * len(_STAGES))[stage] = parts
        return parts

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
