"""The rules in their order, and how they are tried. Pure.

The order within RCPT: what the client may never do, what lists say, who may send where, whether the recipient exists,
what costs nothing to know, and last what costs a look-up. So a recipient that is refused anyway waits for no look-up.
"""

from __future__ import annotations

from libs.smtp.value import value
from services.policy.rules import (
    access,
    authentication,
    connections,
    content,
    exemptions,
    identity,
    protocol,
    recipients,
    relaying,
    sender,
)
from services.policy.rules.configuration import Mode
from services.policy.rules.lookup import Question
from services.policy.rules.model import Action, Facts, Objection, Rule, ShadowOutcome, Snapshot, Stage, Verdict

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


# Enumerations are slow to reach into for what runs at every decision.
_RCPT, _MAIL = Stage.RCPT.value, Stage.MAIL.value
_ACCEPT, _SHADOW = Action.ACCEPT, Mode.SHADOW


@value(frozen=True, slots=True)
class Missing:
    """Look-ups that are needed before the rules can be tried to the end."""

    questions: tuple[Question, ...]


class Rulebook:
    """A snapshot with the rules that are on under it, by stage."""

    __slots__ = ("_checks_content", "_counted", "_early", "_for_postmaster", "active", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        # By stage number.
        self.active: tuple[tuple[tuple[Rule, Mode], ...], ...] = tuple(
            tuple(
                (rule, mode) for rule in RULES if rule.stage == number and (mode := rule.mode(snapshot)) is not Mode.OFF
            )
            for number in range(max(Stage) + 1)
        )
        self._for_postmaster = tuple(
            tuple((rule, mode) for rule, mode in rules if rule.for_postmaster) for rules in self.active
        )
        self._checks_content = content.any_check(snapshot)
        self._early = tuple(rule for rules in self.active for rule, _ in rules if rule.early)
        self._counted = frozenset(rule.stage.value for rules in self.active for rule, _ in rules if rule.counted)

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
        snapshot, knows = self.snapshot, facts.findings.knows
        may_be_exempt = exemptions.may_hold(facts, snapshot)
        verdict = Verdict()
        for number, (rule, mode) in enumerate(self._rules(facts)):
            judge, exempt, asks = rule.judge, rule.exempt, rule.asks
            if asks is None:
                # Most have nothing to object to, which is quicker to see than who is exempt.
                objection = judge(facts, snapshot)
                if objection is None or (may_be_exempt and exempt(facts, snapshot)):
                    continue
            else:
                if may_be_exempt and exempt(facts, snapshot):
                    continue
                for question in asks(facts, snapshot):
                    if not knows(question):
                        return Missing(self._questions(facts, number))
                objection = judge(facts, snapshot)
                if objection is None:
                    continue
            if mode is _SHADOW:
                verdict.shadow += (ShadowOutcome(rule.reason_id, objection.rule_id, objection.reply),)
            elif objection.quarantine:
                verdict.quarantine = True
            else:
                _decide(verdict, rule.reason_id, objection)
                break
        self._complete(facts, verdict)
        return verdict

    def questions(self, facts: Facts) -> tuple[Question, ...]:
        """Every look-up that rules which are on read at this stage, as far as it is not known."""
        return self._questions(facts, 0)

    def _questions(self, facts: Facts, start: int) -> tuple[Question, ...]:
        found: dict[Question, None] = {}
        for rule, _ in self._rules(facts)[start:]:
            if rule.asks is not None and not rule.exempt(facts, self.snapshot):
                found.update((one, None) for one in rule.asks(facts, self.snapshot) if not facts.findings.knows(one))
        return tuple(found)

    def _rules(self, facts: Facts) -> tuple[tuple[Rule, Mode], ...]:
        return self._for_postmaster[facts.stage] if facts.for_postmaster else self.active[facts.stage]

    def _complete(self, facts: Facts, verdict: Verdict) -> None:
        """What a verdict carries beyond its decision."""
        stage = facts.stage
        if stage == _RCPT:
            hits: tuple[str, ...] = ()
            if verdict.shadow:
                hits = tuple(outcome.rule_id for outcome in verdict.shadow if outcome.rule_id)
            if verdict.rule_id:
                hits += (verdict.rule_id,)
            if self.snapshot.access.has_allow and not facts.for_postmaster:
                hits += access.hits(facts, self.snapshot)
            verdict.hits = hits
            if self._checks_content and verdict.action is _ACCEPT:
                verdict.checks = content.checks_needed(facts, self.snapshot)
        elif stage == _MAIL:
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
