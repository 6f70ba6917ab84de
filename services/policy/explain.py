"""Explain: tries every rule in order, for given facts or for a past session, and shows the results. It changes no
counter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from services.policy import wire
from services.policy.engine import Engine
from services.policy.history import PastDecision
from services.policy.rules import results
from services.policy.rules.access import discards
from services.policy.rules.counting import counted, operations
from services.policy.rules.evaluate import NeedsLookups, Rulebook
from services.policy.rules.lookup import DmarcRecord, Lookup, LookupResult, LookupResults, Outcome, Question
from services.policy.rules.model import NO_COUNTS, Action, Counts, Facts, Snapshot, Stage, Verdict, Verification

# The stages in order. A message reaches a stage only after all earlier stages.
_PATH = (Stage.CONNECT, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA)
_MAX_ROUNDS = 4
# Operators have their own share of look-ups.
_PARTY = "explain"


class UnknownSessionError(Exception):
    """The history does not have the session."""


class Explainer:
    """Explains decisions, with the same rules that make them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def past(self, session_id: str) -> tuple[PastDecision, ...]:
        """Returns the decisions of a session, oldest first. Raises UnknownSessionError."""
        past = self._engine.history.of_session(session_id)
        if not past:
            raise UnknownSessionError
        return tuple(map(wire.recalled, past))

    async def dry_run(
        self,
        request: wire.Request,
        assumed: Mapping[str, Outcome],
        now: float | None,
        propose: Callable[[Snapshot], Snapshot] | None = None,
    ) -> tuple[PastDecision, ...]:
        """Returns the decisions for these facts, from CONNECT to their stage, or to a rejection, or until all
        recipients are discarded. `assumed` has the outcomes of some look-ups by name. These look-ups are not made.
        `propose` gets the snapshot in force and returns the snapshot to try. `propose` raises ValueError when there is
        no such snapshot. Raises MalformedError for facts that are not valid.
        """
        rulebook = self._engine.rulebook
        if rulebook is None:
            raise wire.MalformedError("policy has no configuration yet")
        if propose is not None:
            try:
                rulebook = Rulebook(propose(rulebook.snapshot))
            except ValueError as error:
                raise wire.MalformedError(str(error)) from None
        assumed_facts = wire.all_facts(request, rulebook.snapshot, self._engine.clock() if now is None else now)
        assumed_facts.verification = assumed_facts.verification or Verification.NEVER_ASKED
        steps: list[PastDecision] = []
        for stage in _stages_to(Stage(assumed_facts.stage)):
            facts = _at(stage, assumed_facts)
            facts.counts = await self._peek(facts, rulebook.snapshot)
            verdict = await self._evaluate(facts, rulebook, assumed)
            steps.append(PastDecision(facts, verdict, rulebook.snapshot))
            if verdict.action is Action.REJECT or (
                stage is Stage.RCPT and _all_discarded(assumed_facts, verdict, rulebook.snapshot)
            ):
                break
        return tuple(steps)

    async def _peek(self, facts: Facts, snapshot: Snapshot) -> Counts:
        counter_operations = operations(facts, snapshot)
        return counted(counter_operations, await self._engine.store.peek(counter_operations, facts.now))

    async def _evaluate(self, facts: Facts, rulebook: Rulebook, assumed: Mapping[str, Outcome]) -> Verdict:
        """Returns the verdict at one stage. All look-ups of the stage that are not assumed are made, even those of
        rules after the rule that decides.
        """
        for _ in range(_MAX_ROUNDS):
            missing = list(rulebook.questions(facts))
            if facts.stage == Stage.END_OF_DATA:
                missing += [
                    one for one in results.questions(facts, rulebook.snapshot) if one not in facts.lookup_results
                ]
            if not missing:
                break
            assumed_results = {
                question: _assumed(question, assumed) for question in missing if _name(question, assumed)
            }
            questions = [question for question in missing if question not in assumed_results]
            facts.lookup_results.update({**assumed_results, **await self._engine.lookups.find(questions, _PARTY)})
        verdict = rulebook.evaluate(facts)
        if isinstance(verdict, NeedsLookups):
            raise wire.MalformedError("these facts need more look-ups than a decision may make")
        return verdict


def _all_discarded(given: Facts, verdict: Verdict, snapshot: Snapshot) -> bool:
    """Whether no recipient is left, so that ingress would not ask at the end of data."""
    if verdict.action is not Action.DISCARD:
        return False
    return all(discards(recipient, given, snapshot) for recipient in given.recipients)


def _stages_to(stage: Stage) -> tuple[Stage, ...]:
    if stage in _PATH:
        return _PATH[: _PATH.index(stage) + 1]
    return (Stage.CONNECT, stage) if stage is not Stage.HELO else (Stage.CONNECT,)


def _at(stage: Stage, given: Facts) -> Facts:
    """Returns the facts as they were known at an earlier stage."""
    facts = replace(given, stage=stage, counts=NO_COUNTS, lookup_results=LookupResults(), listed=None, allowed_by=None)
    facts.may_be_exempt = True
    if stage in (Stage.RCPT, Stage.END_OF_DATA) and stage != given.stage:
        # The facts of a later stage name all recipients. The first recipient is used for RCPT.
        if stage is Stage.RCPT and not facts.recipient.wire and facts.recipients:
            facts.recipient = facts.recipients[0]
            facts.recipients, facts.recipient_count = (), 0
        facts.for_postmaster = facts.recipient.is_postmaster
    elif stage != given.stage:
        facts.for_postmaster = False
    return facts


def _name(question: Question, assumed: Mapping[str, Outcome]) -> bool:
    return question.name in assumed


def _assumed(question: Question, assumed: Mapping[str, Outcome]) -> LookupResult:
    """Returns the result for an assumed outcome. FOUND is a listing, a pass of SPF, or the DMARC policy reject."""
    outcome = assumed[question.name]
    is_found = outcome is Outcome.FOUND
    match question.lookup:
        case Lookup.DNSBL if is_found:
            return LookupResult(outcome, ("127.0.0.2",), "assumed")
        case Lookup.SPF if outcome is not Outcome.NO_ANSWER:
            return LookupResult(outcome, ("pass" if is_found else "none",), "assumed")
        case Lookup.DMARC if outcome is not Outcome.NO_ANSWER:
            domain = question.subject
            record = DmarcRecord(domain if is_found else "", "reject" if is_found else "none", False, False, domain)
            return LookupResult(outcome, (), "assumed", record)
        case _:
            return LookupResult(outcome, (), "assumed")
