"""The rules in their order, and how they are tried. Pure.

The order within RCPT: what the client may never do, what lists say, who may send where, whether the recipient exists,
what costs nothing to know, and last what costs a look-up. So a recipient that is refused anyway waits for no look-up.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.policy.rules import (
    access,
    authentication,
    connections,
    content,
    identity,
    protocol,
    recipients,
    relaying,
    sender,
)
from services.policy.rules.model import (
    Action,
    Facts,
    Mode,
    Objection,
    Question,
    Rule,
    ShadowOutcome,
    Snapshot,
    Stage,
    Verdict,
)

RULES: tuple[Rule, ...] = (
    # CONNECT
    connections.BLOCKED_CLIENT,
    connections.CONNECTION_RATE_LIMIT,
    connections.CONCURRENCY_LIMIT,
    # AUTH
    authentication.NOT_OFFERED,
    authentication.AGAIN,
    authentication.NEEDS_TLS,
    # MAIL
    relaying.LOGIN_REQUIRED,
    connections.MESSAGE_RATE_LIMIT,
    protocol.DECLARED_SIZE,
    # RCPT
    connections.BLOCKED_SESSION,
    recipients.EXCESS,
    *access.RULES,
    relaying.RELAY,
    relaying.SENDER_LOGIN,
    recipients.UNKNOWN,
    sender.NON_FQDN,
    identity.NON_FQDN_HELO_NAME,
    identity.UNKNOWN_CLIENT,
    identity.UNKNOWN_HELO,
    sender.UNKNOWN_DOMAIN,
    content.DNSBL,
    content.SPF,
    # DATA
    recipients.OVER_LIMIT,
    # END_OF_DATA
    protocol.SIZE,
    protocol.HOPS,
    relaying.FROM_LOGIN,
    content.ANTIVIRUS,
    content.DKIM,
    content.DMARC,
    # When they happen
    protocol.JUNK,
    protocol.PIPELINING,
)


@dataclass(frozen=True, slots=True)
class Missing:
    """Look-ups that are needed before the rules can be tried to the end."""

    questions: tuple[Question, ...]


class Rulebook:
    """A snapshot with the rules that are on under it, by stage."""

    __slots__ = ("_counted", "_counts_allow_hits", "_early", "active", "looks_up", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        # By stage number.
        self.active: tuple[tuple[tuple[Rule, Mode], ...], ...] = tuple(
            tuple(
                (rule, mode) for rule in RULES if rule.stage == number and (mode := rule.mode(snapshot)) is not Mode.OFF
            )
            for number in range(max(Stage) + 1)
        )
        # By stage number: whether any rule there needs look-ups.
        self.looks_up = tuple(any(rule.asks is not None for rule, _ in rules) for rules in self.active)
        self._early = tuple(rule for rules in self.active for rule, _ in rules if rule.early)
        self._counted = frozenset(rule.stage.value for rules in self.active for rule, _ in rules if rule.counted)
        self._counts_allow_hits = any(allow for _, allow, _ in snapshot.access.kinds)

    def counts(self, stage: int) -> bool:
        """Whether any rule at the stage reads a counter."""
        return stage in self._counted

    def early_questions(self, facts: Facts) -> tuple[Question, ...]:
        """At CONNECT: the look-ups of later stages for which the client's address is enough."""
        found: tuple[Question, ...] = ()
        for rule in self._early:
            if rule.asks is not None and not rule.exempt(facts, self.snapshot):
                found += rule.asks(facts, self.snapshot)
        return found

    def evaluate(self, facts: Facts) -> Verdict | Missing:
        """Tries the stage's rules in order until one decides.

        The facts must hold the counts of `counting.operations`. Look-ups they lack are named by Missing, all at once.
        """
        snapshot, findings = self.snapshot, facts.findings
        verdict = Verdict()
        for number, (rule, mode) in enumerate(self.active[facts.stage]):
            if (facts.for_postmaster and not rule.for_postmaster) or rule.exempt(facts, snapshot):
                continue
            if rule.asks is not None:
                for question in rule.asks(facts, snapshot):
                    if question not in findings:
                        return Missing(self._questions(facts, number))
            objection = rule.judge(facts, snapshot)
            if objection is None:
                continue
            if mode is Mode.SHADOW:
                verdict.shadow += (ShadowOutcome(rule.reason_id, objection.rule_id, objection.reply),)
            elif objection.quarantine:
                verdict.quarantine = True
            else:
                _decide(verdict, rule.reason_id, objection)
                break
        self._complete(facts, verdict)
        return verdict

    def questions(self, facts: Facts) -> tuple[Question, ...]:
        """Every look-up that rules which are on read at this stage."""
        return self._questions(facts, 0)

    def _questions(self, facts: Facts, start: int) -> tuple[Question, ...]:
        found: dict[Question, None] = {}
        for rule, _ in self.active[facts.stage][start:]:
            if rule.asks is None or (facts.for_postmaster and not rule.for_postmaster):
                continue
            if not rule.exempt(facts, self.snapshot):
                found.update(
                    (question, None) for question in rule.asks(facts, self.snapshot) if question not in facts.findings
                )
        return tuple(found)

    def _complete(self, facts: Facts, verdict: Verdict) -> None:
        """What a verdict carries beyond its decision."""
        stage = facts.stage
        if stage == Stage.RCPT:
            hits = tuple(outcome.rule_id for outcome in verdict.shadow if outcome.rule_id)
            if verdict.rule_id:
                hits += (verdict.rule_id,)
            if self._counts_allow_hits and not facts.for_postmaster:
                hits += access.hits(facts, self.snapshot)
            verdict.hits = hits
            if verdict.action is Action.ACCEPT:
                verdict.checks = content.checks_needed(facts, self.snapshot)
        elif stage == Stage.MAIL:
            verdict.delay = protocol.junk_delay(facts, self.snapshot)


def objected(reason_id: str, objection: Objection) -> Verdict:
    """The verdict of an objection that came from outside the rules' order."""
    verdict = Verdict()
    _decide(verdict, reason_id, objection)
    return verdict


def _decide(verdict: Verdict, reason_id: str, objection: Objection) -> None:
    verdict.action = objection.action
    verdict.reply = objection.reply
    verdict.close = objection.close
    verdict.reason_id = reason_id
    verdict.rule_id = objection.rule_id
