"""The rules in their order, and how they are tried. This module is pure.

This is the order at RCPT: discard rules, absolute limits of the client, block lists, relay permission, existence of the
recipient, and checks without cost. Checks that need a look-up or a question to the mailbox server are last. So a
recipient that is refused anyway waits for neither of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from libs.smtp.value import fast_value
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
from services.policy.rules.configuration import Mode
from services.policy.rules.counting import AT_STAGE
from services.policy.rules.lookup import NotKnownError, Question
from services.policy.rules.model import (
    NO_CHECKS,
    Action,
    Checks,
    Exempt,
    Facts,
    Match,
    Rule,
    RuleLookups,
    RuleMatch,
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
    connections.BLOCKED_SENDER,
    relaying.LOGIN_REQUIRED,
    connections.MESSAGE_RATE_LIMIT,
    protocol.DECLARED_SIZE,
    # RCPT
    *access.DISCARDS,
    connections.BLOCKED_RECIPIENT,
    recipients.EXCESS,
    *access.REJECTIONS,
    relaying.RELAY,
    relaying.UNTRUSTED_ROUTING,
    relaying.SENDER_LOGIN,
    recipients.UNKNOWN,
    recipients.ALIAS_LEADS_BACK,
    recipients.ALIAS_ENDS_NOWHERE,
    sender.NON_FQDN,
    identity.NON_FQDN_HELO_NAME,
    identity.UNKNOWN_CLIENT,
    identity.UNKNOWN_HELO,
    sender.UNKNOWN_DOMAIN,
    content.DNSBL,
    content.SPF,
    recipients.VERIFICATION,
    # END_OF_DATA
    protocol.SIZE,
    protocol.HOPS,
    relaying.FROM_LOGIN,
    content.ANTIVIRUS,
    content.DKIM,
    content.DMARC,
    content.SPAM,
    # JUNK_COMMAND and PIPELINING
    protocol.JUNK,
    protocol.PIPELINING,
)


# The values are stored here, because access to members of enumerations is slow and this runs for every decision.
_RCPT, _MAIL, _END_OF_DATA = Stage.RCPT.value, Stage.MAIL.value, Stage.END_OF_DATA.value
_NUMBERS = range(max(Stage) + 1)
_ACCEPT = Action.ACCEPT


@fast_value(frozen=True, slots=True)
class NeedsLookups:
    """The look-ups that are needed before all rules can be tried."""

    questions: tuple[Question, ...]


# The parts of a rule that the loop needs: `match`, `exempt`, `lookups`, whether it is in shadow mode, and `reason_id`.
_Step = tuple[Match, Exempt, RuleLookups | None, bool, str]
_Steps = tuple[_Step, ...]


class Rulebook:
    """A snapshot, with the rules that are on under it, by stage. Everything that depends only on the snapshot is
    computed once, when the object is made.
    """

    __slots__ = (
        "_askable",
        "_checked",
        "_checks_content",
        "_early",
        "_for_postmaster",
        "_refused",
        "_steps",
        "_unlisted",
        "accepted",
        "looks_up",
        "operations",
        "snapshot",
    )

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        on = [(rule, mode) for rule in RULES if (mode := rule.mode(snapshot)) is not Mode.OFF]
        self._steps = _by_stage(on)
        self._for_postmaster = _by_stage([(rule, mode) for rule, mode in on if rule.for_postmaster])
        # The steps for facts that no access rule matches.
        self._unlisted = _by_stage([(rule, mode) for rule, mode in on if not rule.by_access_rules])
        self._checks_content = content.any_check(snapshot)
        self._askable = tuple(rule for rule, _ in on if not rule.applied_by_ingress)
        self._early = tuple(
            (rule, lookups)
            for rule, _ in on
            if (lookups := rule.lookups if rule.begins_at_connect else rule.lookups_for_checks) is not None
        )
        # Shared verdicts: the verdict when no rule matches, the same verdict with content checks, and the verdicts of
        # single rules.
        self.accepted = Verdict(shared=True)
        self._checked: dict[Checks, Verdict] = {}
        self._refused: dict[tuple[str, RuleMatch], Verdict] = {}
        # `operations` has for each stage number the function for the counters, or None when no rule of the stage reads
        # a counter. `looks_up` tells for each stage number whether results of look-ups may be needed at the stage.
        self.operations = tuple(
            AT_STAGE.get(number) if any(rule.counted and rule.stage == number for rule, _ in on) else None
            for number in _NUMBERS
        )
        # rspamd gets the results that are known at RCPT.
        asks_rspamd = snapshot.content_checks.spam.mode is not Mode.OFF
        self.looks_up = tuple(
            number == _END_OF_DATA
            or (number == _RCPT and asks_rspamd)
            or any(rule.lookups is not None and rule.stage == number for rule, _ in on)
            for number in _NUMBERS
        )

    def tried(self, stage: Stage) -> tuple[str, ...]:
        """Returns the names of the rules of a stage, in their order."""
        return tuple(reason_id for _, _, _, _, reason_id in self._steps[stage])

    def asked_stages(self, facts: Facts) -> frozenset[Stage]:
        """Returns the stages at which a rule may match in this session, whatever the client sends. `facts` are only the
        facts of the session.
        """
        return frozenset(rule.stage for rule in self._askable if not rule.session_exempt(facts, self.snapshot))

    def early_questions(self, facts: Facts) -> tuple[Question, ...]:
        """Returns look-ups of later stages that can begin at CONNECT, because they need only the client's address."""
        questions: dict[Question, None] = {}
        for rule, lookups in self._early:
            if not (facts.may_be_exempt and rule.exempt(facts, self.snapshot)):
                questions.update(dict.fromkeys(lookups(facts, self.snapshot)))
        return tuple(questions)

    def evaluate(self, facts: Facts) -> Verdict | NeedsLookups:
        """Tries the rules of the stage in order until one decides. The facts must have the counts of
        `counting.operations`. If look-ups are missing, the result is a NeedsLookups that has all of them.
        """
        snapshot, may_be_exempt = self.snapshot, facts.may_be_exempt
        verdict: Verdict | None = None
        reason_id = ""
        try:
            for match, exempt, lookups, in_shadow, reason_id in self._steps_for(facts):
                if may_be_exempt and lookups is not None and exempt(facts, snapshot):
                    continue
                rule_match = match(facts, snapshot)
                # Most rules do not match, which is faster to find out than the exemptions.
                if rule_match is None or (may_be_exempt and lookups is None and exempt(facts, snapshot)):
                    continue
                if in_shadow:
                    verdict = verdict or Verdict()
                    verdict.shadow += (ShadowOutcome(reason_id, rule_match.rule_id, rule_match.reply),)
                elif rule_match.quarantine:
                    verdict = verdict or Verdict()
                    verdict.quarantine += (reason_id,)
                else:
                    verdict = self._refusal(verdict, reason_id, rule_match)
                    break
        except NotKnownError:
            return NeedsLookups(self._questions(facts, after=reason_id))
        return self._completed(facts, verdict)

    def questions(self, facts: Facts) -> tuple[Question, ...]:
        """Returns all unknown look-ups of the rules that are on at this stage."""
        return self._questions(facts)

    def _questions(self, facts: Facts, after: str = "") -> tuple[Question, ...]:
        """Returns the missing look-ups of the rule `after` and of all later rules. Earlier rules were already tried."""
        missing: dict[Question, None] = {}
        reached = not after
        for _, exempt, lookups, _, reason_id in self._steps_for(facts):
            reached = reached or reason_id == after
            if reached and lookups is not None and not exempt(facts, self.snapshot):
                missing.update(
                    (lookup, None) for lookup in lookups(facts, self.snapshot) if not facts.lookup_results.knows(lookup)
                )
        return tuple(missing)

    def _steps_for(self, facts: Facts) -> _Steps:
        stage = facts.stage
        if facts.for_postmaster:
            return self._for_postmaster[stage]
        if stage == _RCPT and not access.matches(facts):
            return self._unlisted[stage]
        return self._steps[stage]

    def _completed(self, facts: Facts, verdict: Verdict | None) -> Verdict:
        """Returns the verdict after adding what does not come from the rule that decides: hits of access rules, content
        checks and delays. `verdict` is None when no rule matched.
        """
        stage = facts.stage
        if stage == _RCPT:
            if facts.listed:
                hits = _hits(facts, verdict, self.snapshot)
                if hits:
                    verdict = Verdict() if verdict is None else _own(verdict)
                    verdict.hits = hits
            if self._checks_content:
                if verdict is None:
                    return self._accepted_with(content.checks_needed(facts, self.snapshot))
                if verdict.action is _ACCEPT:
                    verdict.checks = content.checks_needed(facts, self.snapshot)
        elif stage == _MAIL and facts.junk_commands_uncharged:
            verdict = Verdict() if verdict is None else _own(verdict)
            verdict.delay = protocol.junk_delay(facts, self.snapshot)
        return self.accepted if verdict is None else verdict

    def _accepted_with(self, checks: Checks) -> Verdict:
        if checks is NO_CHECKS:
            return self.accepted
        verdict = self._checked.get(checks)
        if verdict is None:
            verdict = self._checked[checks] = Verdict(checks=checks, shared=True)
        return verdict

    def _refusal(self, verdict: Verdict | None, reason_id: str, rule_match: RuleMatch) -> Verdict:
        """Returns the verdict for a match. `verdict` has the results of earlier rules."""
        if verdict is not None:
            _decide(verdict, reason_id, rule_match)
            return verdict
        if rule_match.rule_id:
            return verdict_of(reason_id, rule_match)
        verdict = self._refused.get((reason_id, rule_match))
        if verdict is None:
            verdict = self._refused[reason_id, rule_match] = verdict_of(reason_id, rule_match)
            verdict.shared = True
        return verdict


def _by_stage(rules: Sequence[tuple[Rule, Mode]]) -> tuple[_Steps, ...]:
    return tuple(
        tuple(
            (rule.match, rule.exempt, rule.lookups, mode is Mode.SHADOW, rule.reason_id)
            for rule, mode in rules
            if rule.stage == number
        )
        for number in _NUMBERS
    )


def _hits(facts: Facts, verdict: Verdict | None, snapshot: Snapshot) -> tuple[str, ...]:
    """Returns the ids of the access rules whose hits this decision counts."""
    hits: tuple[str, ...] = ()
    if verdict is not None:
        hits = tuple(outcome.rule_id for outcome in verdict.shadow if outcome.rule_id)
        if verdict.rule_id:
            hits += (verdict.rule_id,)
    return hits + access.hits(facts) if snapshot.access.has_allow else hits


def _own(verdict: Verdict) -> Verdict:
    """Returns a verdict that is not shared, and may be changed."""
    return replace(verdict, shared=False) if verdict.shared else verdict


def verdict_of(reason_id: str, rule_match: RuleMatch) -> Verdict:
    """Returns a new verdict for a match, without the results of other rules."""
    verdict = Verdict()
    _decide(verdict, reason_id, rule_match)
    return verdict


def _decide(verdict: Verdict, reason_id: str, rule_match: RuleMatch) -> None:
    verdict.action = rule_match.action
    verdict.reply = rule_match.reply
    verdict.close = rule_match.close
    verdict.refuses_message = rule_match.refuses_message
    verdict.verify_recipient = rule_match.verify_recipient
    verdict.reason_id = reason_id
    verdict.rule_id = rule_match.rule_id
