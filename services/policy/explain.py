"""Explain: every rule in order with its outcome, for facts given or for a past session. Changes no counter."""

from __future__ import annotations

from dataclasses import dataclass, replace

from posthouse.policy.v1 import policy_pb2

from services.policy import wire
from services.policy.engine import Engine
from services.policy.rules import results
from services.policy.rules.counting import operations
from services.policy.rules.evaluate import Missing, Rulebook
from services.policy.rules.model import (
    NO_COUNTS,
    Action,
    Counts,
    DmarcRecord,
    Facts,
    Finding,
    Lookup,
    Outcome,
    Question,
    Snapshot,
    Stage,
    Verdict,
)
from services.policy.rules.recipients import is_postmaster
from services.policy.rules.trial import RuleReport, report

# The stages before one at which a message is, in their order.
_PATH = (Stage.CONNECT, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA)
_MAX_ROUNDS = 4


class UnknownSessionError(Exception):
    """Nothing is kept of the session."""


@dataclass(frozen=True, slots=True)
class _Step:
    facts: Facts
    verdict: Verdict
    snapshot: Snapshot


class Explainer:
    """Answers by the same rules as decisions are made by."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def explain(self, request: policy_pb2.ExplainRequest) -> policy_pb2.ExplainResponse:
        """Raises UnknownSessionError, or MalformedError for facts that are none."""
        if request.HasField("session_id"):
            past = self._engine.history.of_session(request.session_id)
            if not past:
                raise UnknownSessionError
            return _response([_Step(one.facts, one.verdict, one.snapshot) for one in past], None)
        rulebook = self._engine.rulebook
        if rulebook is None:
            raise wire.MalformedError("policy has no configuration yet")
        return _response(await self._try(request, rulebook), request.facts)

    async def _try(self, request: policy_pb2.ExplainRequest, rulebook: Rulebook) -> list[_Step]:
        now = self._engine.clock()
        if request.assumed.HasField("now"):
            now = request.assumed.now.seconds + request.assumed.now.nanos / 1e9
        given = wire.facts(request.facts, rulebook.snapshot, now)
        assumed = {name: wire.outcome(number) for name, number in request.assumed.lookups.items()}
        steps: list[_Step] = []
        for stage in _stages_to(Stage(given.stage)):
            facts = _at(stage, given, rulebook.snapshot)
            facts.counts = await self._peek(facts, rulebook.snapshot)
            verdict = await self._evaluate(facts, rulebook, assumed)
            steps.append(_Step(facts, verdict, rulebook.snapshot))
            if verdict.action is Action.REJECT:
                break
        return steps

    async def _peek(self, facts: Facts, snapshot: Snapshot) -> Counts:
        asked = operations(facts, snapshot)
        counts = Counts()
        for operation, number in zip(asked, await self._engine.store.peek(asked, facts.now), strict=True):
            setattr(counts, operation.counter, number)
        return counts

    async def _evaluate(self, facts: Facts, rulebook: Rulebook, assumed: dict[str, Outcome]) -> Verdict:
        """Every look-up of the stage is made, also of rules that another decides before."""
        for _ in range(_MAX_ROUNDS):
            wanted = [question for question in rulebook.questions(facts) if question not in facts.findings]
            if facts.stage == Stage.END_OF_DATA:
                wanted += [one for one in results.questions(facts, rulebook.snapshot) if one not in facts.findings]
            if not wanted:
                break
            given = {question: _assumed(question, assumed) for question in wanted if _name(question, assumed)}
            asked = [question for question in wanted if question not in given]
            facts.findings = {**facts.findings, **given, **await self._engine.lookups.find(asked)}
        verdict = rulebook.evaluate(facts)
        if isinstance(verdict, Missing):
            raise wire.MalformedError("these facts ask for more look-ups than a decision makes")
        return verdict


def _stages_to(stage: Stage) -> tuple[Stage, ...]:
    if stage in _PATH:
        return _PATH[: _PATH.index(stage) + 1]
    return (Stage.CONNECT, stage) if stage is not Stage.HELO else (Stage.CONNECT,)


def _at(stage: Stage, given: Facts, snapshot: Snapshot) -> Facts:
    """The given facts as they were known at an earlier stage."""
    facts = replace(given, stage=stage, counts=NO_COUNTS, findings={}, allowed_by=None)
    if stage in (Stage.RCPT, Stage.END_OF_DATA) and stage != given.stage:
        # Facts for a later stage name all recipients; the first stands for them.
        if stage is Stage.RCPT and not facts.recipient.wire and facts.recipients:
            facts.recipient = facts.recipients[0]
            facts.recipients = ()
        facts.for_postmaster = bool(facts.recipient.wire) and is_postmaster(facts.recipient, snapshot)
    elif stage != given.stage:
        facts.for_postmaster = False
    return facts


def _name(question: Question, assumed: dict[str, Outcome]) -> bool:
    return question.name in assumed


def _assumed(question: Question, assumed: dict[str, Outcome]) -> Finding:
    """What an assumed outcome stands for: found is a listing, a pass of SPF, and the DMARC policy reject."""
    outcome = assumed[question.name]
    found = outcome is Outcome.FOUND
    match question.lookup:
        case Lookup.DNSBL if found:
            return Finding(outcome, ("127.0.0.2",), "assumed")
        case Lookup.SPF if outcome is not Outcome.NO_ANSWER:
            return Finding(outcome, ("pass" if found else "none",), "assumed")
        case Lookup.DMARC if outcome is not Outcome.NO_ANSWER:
            domain = question.subject
            record = DmarcRecord(domain if found else "", "reject" if found else "none", False, False, domain)
            return Finding(outcome, (), "assumed", record)
        case _:
            return Finding(outcome, (), "assumed")


def _response(steps: list[_Step], request: policy_pb2.DecideRequest | None) -> policy_pb2.ExplainResponse:
    response = policy_pb2.ExplainResponse()
    named: set[Question] = set()
    for step in steps:
        for one in report(step.facts, step.snapshot):
            _fill(response.rules.add(), step, one)
        for question, finding in step.facts.findings.items():
            if question not in named:
                named.add(question)
                response.lookups.append(wire.lookup_report(question, finding))
    last = steps[-1]
    wire.fill(response.verdict, last.verdict, last.snapshot.revision)
    response.snapshot_revision = last.snapshot.revision
    if request is not None:
        response.facts.CopyFrom(request)
        response.facts.ClearField("credentials")
    else:
        wire.fill_facts(response.facts, last.facts)
    return response


def _fill(message: policy_pb2.RuleReport, step: _Step, one: RuleReport) -> None:
    message.stage = step.facts.stage  # type: ignore[assignment]
    message.reason_id = one.reason_id
    message.rule_id = one.rule_id
    message.outcome = one.outcome  # type: ignore[assignment]
    message.skipped_by = one.skipped_by
    message.explanation = one.explanation
    if one.reply is not None:
        message.reply.code = one.reply.code
        message.reply.enhanced_code = one.reply.enhanced
        message.reply.text = one.reply.text
