"""Tries every rule of a stage separately, whatever the earlier rules decide, for Explain. This module is pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from libs.smtp.reply import Reply
from services.policy.rules.configuration import Mode
from services.policy.rules.evaluate import RULES
from services.policy.rules.model import Exemption, Facts, Rule, Snapshot


class RuleOutcome(IntEnum):
    """The results of rules. The numbers are those of policy.v1."""

    PASS = 1
    DECIDED = 2
    SHADOW = 3
    OFF = 4
    SKIPPED = 5
    NOT_REACHED = 6


@dataclass(frozen=True, slots=True)
class RuleReport:
    reason_id: str
    outcome: RuleOutcome
    rule_id: str = ""
    # The name of an exemption, or the id of an allow rule.
    skipped_by: str = ""
    reply: Reply | None = None
    explanation: str = ""


def report(facts: Facts, snapshot: Snapshot) -> tuple[RuleReport, ...]:
    """Returns the results of all rules of the facts' stage, in order."""
    reports = []
    decided = False
    for rule in RULES:
        if rule.stage == facts.stage:
            rule_report = _try(rule, facts, snapshot, decided=decided)
            decided = decided or rule_report.outcome is RuleOutcome.DECIDED
            reports.append(rule_report)
    return tuple(reports)


def _try(rule: Rule, facts: Facts, snapshot: Snapshot, *, decided: bool) -> RuleReport:
    mode = rule.mode(snapshot)
    if mode is Mode.OFF:
        return RuleReport(rule.reason_id, RuleOutcome.OFF)
    skipped_by = rule.exempt(facts, snapshot)
    if facts.for_postmaster and not rule.for_postmaster:
        skipped_by = Exemption.POSTMASTER
    if skipped_by:
        return RuleReport(rule.reason_id, RuleOutcome.SKIPPED, skipped_by=skipped_by)
    if rule.lookups is not None and not all(map(facts.lookup_results.knows, rule.lookups(facts, snapshot))):
        # The rule was not tried, because an earlier rule had decided.
        return RuleReport(rule.reason_id, RuleOutcome.NOT_REACHED)
    rule_match = rule.match(facts, snapshot)
    description = rule.describe(facts)
    if rule_match is None:
        outcome = RuleOutcome.NOT_REACHED if decided else RuleOutcome.PASS
        return RuleReport(rule.reason_id, outcome, explanation=description)
    outcome = RuleOutcome.SHADOW if mode is Mode.SHADOW else RuleOutcome.DECIDED
    return RuleReport(
        rule.reason_id,
        RuleOutcome.NOT_REACHED if decided else outcome,
        rule_id=rule_match.rule_id,
        reply=rule_match.reply,
        explanation=description or rule_match.explanation,
    )
