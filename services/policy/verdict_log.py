"""Writes the log event `verdict`, with one line for each decision except refusals beyond a limit.

The limit is for the lines about refusals in a minute, for each client's network and for all together. Refusals beyond
the limit are counted, and one line tells their number.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from libs.runtime.logging import FrequentEvent, quoted
from libs.runtime.refusal_sample import RefusalSample
from services.policy.metrics import REFUSALS_UNLOGGED
from services.policy.rules.model import Action, Facts, Stage, Verdict

log = structlog.get_logger(__name__)

_REJECT = Action.REJECT
_STAGES = ("", *(stage.name.lower() for stage in sorted(Stage)))
# The largest number of verdicts whose parts of the line are cached.
_REMEMBERED = 1000
_MAIL = Stage.MAIL.value
_ACTIONS = {action: action.name.lower() for action in Action}


class VerdictLog:
    """Writes the event. Create it after the log was configured."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        """`write` gets the finished lines. The default is the log of the process."""
        self._event = FrequentEvent("policy", "verdict", write)
        self._write = self._event.write
        # The time of the last decision, and the beginning of the lines with this time. The lines are finished here,
        # because a call of the event for each of them would be slow.
        self._now = -1.0
        self._head = ""
        self._refusals = RefusalSample()
        # The cached parts of the lines of shared verdicts, by stage.
        self._known: dict[Verdict, list[tuple[str, str] | None]] = {}

    def add(self, facts: Facts, verdict: Verdict, revision: int) -> None:
        if not self._event.enabled:
            return
        if facts.now != self._now:
            self._turn(facts.now)
        if verdict.action is _REJECT and not self._refusals.has_line(facts.client.network):
            REFUSALS_UNLOGGED.inc()
            return
        stage = facts.stage
        known_parts = self._known.get(verdict)
        said, end = (known_parts and known_parts[stage]) or self._of_verdict(stage, verdict, revision)
        line = f'{self._head}"session_id": {quoted(facts.session_id)}, "client": "{facts.client.address}", {said}'
        if facts.account is not None:
            line += f', "account": {quoted(facts.account.login)}'
        if stage >= _MAIL:
            recipient = facts.recipient
            if recipient.wire:
                line += f', "sender": {facts.sender.quoted}, "recipient": {recipient.quoted}'
            else:
                line += f', "sender": {facts.sender.quoted}'
        self._write(line + end)

    def _turn(self, now: float) -> None:
        """Notes the time of a new frame. At the end of a minute, logs how many lines were left out."""
        self._now, self._head = now, self._event.beginning(int(now * 1e6))
        unlogged = self._refusals.turn(now)
        if unlogged is not None:
            log.warning(
                "refusals_not_logged",
                refusals=unlogged.refusals,
                networks=unlogged.networks,
                largest=unlogged.largest,
                refusals_of_largest=unlogged.refusals_of_largest,
            )

    def _of_verdict(self, stage: int, verdict: Verdict, revision: int) -> tuple[str, str]:
        """Returns the parts of a line before and after the addresses. The second part ends the line. The names of
        stages, actions and reasons need no escapes.
        """
        said = f'"stage": "{_STAGES[stage]}", "action": "{_ACTIONS[verdict.action]}", "revision": {revision}'
        end = ""
        if verdict.reason_id:
            said += f', "reason_id": "{verdict.reason_id}"'
            if verdict.rule_id:
                said += f', "rule_id": {quoted(verdict.rule_id)}'
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
