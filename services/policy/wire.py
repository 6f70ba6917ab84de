"""Between the messages of policy.v1 and the rules' values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.policy.v1 import policy_pb2

from libs.smtp.reply import Reply
from services.policy.credentials import Credentials
from services.policy.history import PastDecision as Step
from services.policy.rules.exemptions import may_hold
from services.policy.rules.lookup import Finding, Findings, Outcome, Question
from services.policy.rules.model import (
    NO_CHECKS,
    NO_CONTENT,
    ArcChain,
    CheckResult,
    Checks,
    Content,
    DkimSignature,
    Facts,
    ScanOutcome,
    ShadowOutcome,
    Snapshot,
    Stage,
    Verdict,
)
from services.policy.rules.parties import party
from services.policy.rules.profile import SessionProfile
from services.policy.rules.recipients import is_postmaster
from services.policy.rules.results import AuthenticationResult
from services.policy.rules.trial import RuleReport, report
from services.policy.state.store import Blocked

Request: TypeAlias = policy_pb2.DecideRequest
Message: TypeAlias = policy_pb2.Verdict
Profile: TypeAlias = policy_pb2.SessionProfile

_MAIL, _RCPT, _END_OF_DATA = Stage.MAIL.value, Stage.RCPT.value, Stage.END_OF_DATA.value
_WITHOUT_TRANSACTION = frozenset(stage.value for stage in (Stage.CONNECT, Stage.HELO, Stage.AUTH))
_STAGES = frozenset(stage.value for stage in Stage)


class MalformedError(ValueError):
    """A request that the contract does not know; the text is ours."""


def facts(request: policy_pb2.DecideRequest, snapshot: Snapshot, now: float, findings: Findings | None = None) -> Facts:
    """The facts of a request under a snapshot; of each stage what its rules read. `findings`: where they go to.

    Raises MalformedError.
    """
    stage: int = request.stage
    if stage not in _STAGES:
        raise MalformedError("unknown stage")
    session = request.session
    try:
        known = Facts(
            stage,
            now,
            session.id,
            snapshot.clients.find(session.client_address),
            session.listener,
            session.HasField("tls"),
            session.helo_name,
            snapshot.accounts.get(session.account_login),
            session.junk_commands,
            session.junk_commands_uncharged,
            session.pipelining_violation,
            session.profile_revision,
            findings=findings if findings is not None else Findings(),
        )
        if stage not in _WITHOUT_TRANSACTION:
            _add_transaction(known, request, snapshot)
        if request.asked_before:
            known.asked_before = True
    except ValueError as error:
        raise MalformedError("not canonical") from error
    known.may_be_exempt = may_hold(known, snapshot)
    return known


def _add_transaction(known: Facts, request: policy_pb2.DecideRequest, snapshot: Snapshot) -> None:
    stage = known.stage
    transaction = request.transaction
    known.sender = party(transaction.sender)
    known.declared_size = transaction.declared_size
    if stage == _RCPT:
        known.recipient = recipient = party(transaction.recipient)
        known.for_postmaster = is_postmaster(recipient, snapshot)
        known.recipient_count = len(transaction.recipients)
    elif stage != _MAIL:
        recipients = transaction.recipients
        known.recipient_count = len(recipients)
        if stage == _END_OF_DATA:
            known.recipients = parties = tuple(map(party, recipients))
            known.for_postmaster = bool(parties) and all(is_postmaster(each, snapshot) for each in parties)
            if request.HasField("content"):
                known.content = content(request.content)


def content(message: policy_pb2.Content) -> Content:
    return Content(
        size=message.size,
        hops=message.hops,
        from_fields=message.from_fields,
        authors=tuple(map(party, message.from_addresses)),
        from_unparsable=message.from_unparsable,
        dkim_checked=message.dkim_checked,
        dkim=tuple(_signature(signature) for signature in message.dkim),
        arc=(
            ArcChain(_result(message.arc.result), message.arc.instances, _domain(message.arc.sealer_domain))
            if message.HasField("arc")
            else None
        ),
        scan=ScanOutcome(message.virus.outcome) if message.HasField("virus") else ScanOutcome.NOT_SCANNED,
    )


def _signature(message: policy_pb2.DkimSignature) -> DkimSignature:
    return DkimSignature(
        result=_result(message.result),
        domain=_domain(message.domain),
        selector=message.selector.decode("ascii", "replace"),
        algorithm=message.algorithm,
        signature_prefix=message.signature_prefix,
        identity=message.identity,
        reason=message.reason,
    )


def _result(number: int) -> CheckResult:
    return CheckResult(number) if number else CheckResult.NONE


def _domain(raw: bytes) -> str:
    return raw.decode("ascii", "replace").lower().removesuffix(".")


def credentials(message: policy_pb2.Credentials) -> Credentials:
    return Credentials(message.mechanism, message.authorization_identity, message.login, message.password)


def fill(message: policy_pb2.Verdict, verdict: Verdict, revision: int) -> None:
    """Writes a verdict into the message that carries it."""
    message.action = verdict.action  # type: ignore[assignment]
    message.snapshot_revision = revision
    if verdict.reply is not None:
        message.reply.CopyFrom(_reply(verdict.reply))
    if verdict.reason_id:
        message.reason_id = verdict.reason_id
        message.rule_id = verdict.rule_id
        message.close = verdict.close
    if verdict.delay:
        message.delay.seconds = verdict.delay
    if verdict.checks is not NO_CHECKS:
        message.checks.CopyFrom(_checks(verdict.checks))
    if verdict.account:
        message.account = verdict.account
    if verdict.quarantine:
        message.quarantine = True
    if verdict.shadow:
        message.shadow.extend(_shadow(outcome) for outcome in verdict.shadow)


@lru_cache(maxsize=256)
def _reply(reply: Reply) -> policy_pb2.Reply:
    return policy_pb2.Reply(code=reply.code, enhanced_code=reply.enhanced, text=reply.text)


@lru_cache(maxsize=64)
def _checks(checks: Checks) -> policy_pb2.ContentChecks:
    message = policy_pb2.ContentChecks(dkim=checks.dkim, arc=checks.arc, clamd=checks.clamd)
    if checks.clamd:
        message.clamd_timeout.FromTimedelta(checks.clamd_timeout)
    return message


def _shadow(outcome: ShadowOutcome) -> policy_pb2.ShadowOutcome:
    return policy_pb2.ShadowOutcome(
        reason_id=outcome.reason_id,
        rule_id=outcome.rule_id,
        reply=None if outcome.reply is None else _reply(outcome.reply),
    )


def profile(given: SessionProfile) -> Profile:
    return policy_pb2.SessionProfile(
        revision=given.revision,
        hostname=given.hostname,
        banner=given.banner,
        auth_mechanisms_plaintext=given.auth_mechanisms_plaintext,
        auth_mechanisms_tls=given.auth_mechanisms_tls,
        max_message_size=given.max_message_size,
        max_recipients=given.max_recipients,
        reject_message_over_recipient_limit=given.reject_message_over_recipient_limit,
        max_hops=given.max_hops,
        max_junk_commands=given.max_junk_commands,
        junk_commands_per_delay=given.junk_commands_per_delay,
        ask_stages=[stage.value for stage in given.ask_stages],  # type: ignore[misc]
        authserv_id=given.hostname,
        may_relay=given.may_relay,
    )


def add_results(message: policy_pb2.Verdict, found: Iterable[AuthenticationResult]) -> None:
    for one in found:
        result = message.results.add(method=one.method, result=_enum(one.result), reason=one.reason)
        for kind, name, value in one.properties:
            result.properties.add(type=kind, name=name, value=value)


def blocked(client: Blocked) -> policy_pb2.BlockedClient:
    return policy_pb2.BlockedClient(
        client=client.client,
        reason=client.reason,
        count=client.count,
        blocked_at=timestamp(client.blocked_at),
        ends_at=timestamp(client.ends_at),
    )


def timestamp(seconds: float) -> Timestamp:
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))


def _lookup_report(question: Question, finding: Finding) -> policy_pb2.LookupReport:
    took = Duration(seconds=int(finding.took), nanos=int(finding.took % 1 * 1e9))
    detail = finding.detail or " ".join(finding.records)
    return policy_pb2.LookupReport(name=question.name, outcome=_enum(finding.outcome), detail=detail, took=took)


def _fill_facts(message: policy_pb2.DecideRequest, known: Facts) -> None:
    """The facts that the rules saw, as a request would give them."""
    message.stage = known.stage  # type: ignore[assignment]
    session = message.session
    session.id = known.session_id
    session.client_address = known.client.address
    session.listener = known.listener  # type: ignore[assignment]
    session.helo_name = known.helo_name
    session.account_login = known.account.login if known.account is not None else ""
    session.junk_commands = known.junk_commands
    session.junk_commands_uncharged = known.junk_commands_uncharged
    session.pipelining_violation = known.pipelining_violation  # type: ignore[assignment]
    if known.tls:
        session.tls.SetInParent()
    message.transaction.sender = known.sender.wire
    message.transaction.declared_size = known.declared_size
    message.transaction.recipient = known.recipient.wire
    message.transaction.recipients.extend(recipient.wire for recipient in known.recipients)
    if known.content is not NO_CONTENT:
        message.content.size = known.content.size
        message.content.hops = known.content.hops
        message.content.from_fields = known.content.from_fields
        message.content.from_addresses.extend(author.wire for author in known.content.authors)
        message.content.dkim_checked = known.content.dkim_checked


def assumptions(message: policy_pb2.AssumedFacts) -> tuple[dict[str, Outcome], float | None]:
    """Look-ups by name, and the time in seconds since the epoch, None when it is not assumed."""
    lookups = {name: Outcome(number) if number else Outcome.NO_ANSWER for name, number in message.lookups.items()}
    now = message.now.seconds + message.now.nanos / 1e9 if message.HasField("now") else None
    return lookups, now


def explanation(steps: Sequence[Step], asked: Request | None) -> policy_pb2.ExplainResponse:
    """`asked`: the facts that were given; None for a past session."""
    response = policy_pb2.ExplainResponse()
    named: set[Question] = set()
    for step in steps:
        for one in report(step.facts, step.snapshot):
            _rule_report(response.rules.add(), step.facts.stage, one)
        for question, finding in step.facts.findings.items():
            if question not in named:
                named.add(question)
                response.lookups.append(_lookup_report(question, finding))
    last = steps[-1]
    fill(response.verdict, last.verdict, last.snapshot.revision)
    response.snapshot_revision = last.snapshot.revision
    if asked is not None:
        response.facts.CopyFrom(asked)
        response.facts.ClearField("credentials")
    else:
        _fill_facts(response.facts, last.facts)
    return response


def _rule_report(message: policy_pb2.RuleReport, stage: int, one: RuleReport) -> None:
    message.stage = stage  # type: ignore[assignment]
    message.reason_id = one.reason_id
    message.rule_id = one.rule_id
    message.outcome = _enum(one.outcome)
    message.skipped_by = one.skipped_by
    message.explanation = one.explanation
    if one.reply is not None:
        message.reply.CopyFrom(_reply(one.reply))


def _enum(value: Any) -> Any:
    """Our enumerations have the contract's numbers."""
    return int(value)
