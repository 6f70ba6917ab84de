"""Converts between the messages of policy.v1 and the values of the rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NewType, Protocol, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.policy.v1 import policy_pb2

from libs.smtp.reply import Reply
from services.policy.credentials import Credentials
from services.policy.history import PastDecision as Step
from services.policy.history import PastRequest
from services.policy.rules.access import discards
from services.policy.rules.addresses import facts_of_address
from services.policy.rules.configuration import Account
from services.policy.rules.dry_run import RuleReport, report
from services.policy.rules.exemptions import may_hold
from services.policy.rules.lookup import LookupResult, LookupResults, Outcome, Question
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
    SpamAction,
    SpamScan,
    Stage,
    Verdict,
)
from services.policy.rules.profile import SessionProfile
from services.policy.rules.results import AuthenticationResult
from services.policy.state.store import Blocked

# A request of policy.v1 (DecideRequest), as other modules pass it on. Only this module reads its fields. The functions
# that run for each decision get its type by an assignment, because `cast` or a call of the type would cost time.
Request = NewType("Request", object)

_AUTH, _MAIL, _RCPT, _END_OF_DATA = Stage.AUTH.value, Stage.MAIL.value, Stage.RCPT.value, Stage.END_OF_DATA.value
_NOT_SCANNED = ScanOutcome.NOT_SCANNED
_WITHOUT_TRANSACTION = frozenset(stage.value for stage in (Stage.CONNECT, Stage.HELO, Stage.AUTH))
_STAGES = frozenset(stage.value for stage in Stage)


class MalformedError(ValueError):
    """A request that does not follow the contract. The text is our own."""


def requests(frame: policy_pb2.DecideFrame) -> list[Request]:
    return frame.requests[:]  # type: ignore[return-value]


def stage_of(request: Request) -> int:
    """Returns the number of the stage, which may be unknown to `Stage`."""
    return _message(request).stage


def session_id(request: Request) -> str:
    return _message(request).session.id


def request_id(request: Request) -> int:
    return _message(request).request_id


def traceparent(request: Request) -> str:
    return _message(request).traceparent


def _message(request: Request) -> policy_pb2.DecideRequest:
    return cast("policy_pb2.DecideRequest", request)


def facts(given: Request, snapshot: Snapshot, now: float, lookup_results: LookupResults | None = None) -> Facts:
    """Returns the facts of a request under a snapshot, as far as the rules of its stage read them. Look-up results are
    added to `lookup_results`. Raises MalformedError.

    This function runs for every decision, and each field that is read costs about half a percent of the time of a
    decision. So fields that belong to one stage are read only there. Addresses that are in the cache are taken from it
    without a call.
    """
    request: policy_pb2.DecideRequest = given  # type: ignore[assignment]
    stage: int = request.stage
    if stage not in _STAGES:
        raise MalformedError("unknown stage")
    session = request.session
    login = session.account_login
    account = _proved(login, session.account_proof, snapshot) if login else None
    try:
        decision_facts = Facts(
            stage,
            now,
            session.id,
            snapshot.clients.find(session.client_address),
            session.listener,
            account,
            account is None and bool(login),
            session.helo_name,
            session.profile_revision,
            request.asked_before,
            LookupResults() if lookup_results is None else lookup_results,
        )
        if stage not in _WITHOUT_TRANSACTION:
            transaction = request.transaction
            known = snapshot.known_addresses
            wire_form = transaction.sender
            decision_facts.sender = known.get(wire_form) or facts_of_address(wire_form, snapshot)
            if stage == _RCPT:
                wire_form = transaction.recipient
                recipient = known.get(wire_form) or facts_of_address(wire_form, snapshot)
                decision_facts.recipient = recipient
                decision_facts.for_postmaster = recipient.is_postmaster
                # For Explain, the operator names the recipients instead.
                decision_facts.recipient_count = transaction.recipient_count or len(transaction.recipients)
                decision_facts.recipients_asked = transaction.recipients_asked
                if recipient.is_verified:
                    decision_facts.verification = transaction.recipient_verification
            elif stage == _MAIL:
                decision_facts.declared_size = transaction.declared_size
                decision_facts.junk_commands_uncharged = session.junk_commands_uncharged
            else:
                _add_recipients(decision_facts, request, snapshot)
                if stage != _END_OF_DATA:
                    _add_violations(decision_facts, session)
        elif stage == _AUTH:
            decision_facts.tls = session.HasField("tls")
    except ValueError as error:
        raise MalformedError("not canonical") from error
    decision_facts.may_be_exempt = may_hold(decision_facts, snapshot)
    return decision_facts


def all_facts(given: Request, snapshot: Snapshot, now: float, lookup_results: LookupResults | None = None) -> Facts:
    """Returns the facts as `facts` does, with those that only rules of other stages read. Explain shows all facts, and
    tries the rules of other stages too.
    """
    decision_facts = facts(given, snapshot, now, lookup_results)
    request = _message(given)
    session = request.session
    _add_violations(decision_facts, session)
    decision_facts.tls = session.HasField("tls")
    decision_facts.junk_commands_uncharged = session.junk_commands_uncharged
    if decision_facts.stage not in _WITHOUT_TRANSACTION:
        decision_facts.declared_size = request.transaction.declared_size
    return decision_facts


def _add_violations(decision_facts: Facts, session: policy_pb2.Session) -> None:
    decision_facts.junk_commands = session.junk_commands
    decision_facts.pipelining_violation = session.pipelining_violation


def _proved(login: str, proof: bytes, snapshot: Snapshot) -> Account | None:
    """Returns the account, if it still has the login and the password of the session. Requests to Explain contain no
    proof.
    """
    account = snapshot.accounts.get(login)
    return None if account is not None and proof and proof != account.proof else account


def _add_recipients(decision_facts: Facts, request: policy_pb2.DecideRequest, snapshot: Snapshot) -> None:
    recipients = request.transaction.recipients
    decision_facts.recipient_count = len(recipients)
    if decision_facts.stage == _END_OF_DATA:
        known = snapshot.known_addresses
        # A slice is a list, over which iteration is faster.
        decision_facts.recipients = parties = tuple(
            [known.get(wire_form) or facts_of_address(wire_form, snapshot) for wire_form in recipients[:]]
        )
        if parties and (parties[0].is_postmaster or snapshot.access.has_discard):
            left = [party for party in parties if not discards(party, decision_facts, snapshot)]
            decision_facts.for_postmaster = bool(left) and all(each.is_postmaster for each in left)
        if request.HasField("content"):
            decision_facts.content = content(request.content, snapshot)


def content(message: policy_pb2.Content, snapshot: Snapshot) -> Content:
    dkim = message.dkim
    return Content(
        message.size,
        message.hops,
        message.from_fields,
        tuple([facts_of_address(author, snapshot) for author in message.from_addresses[:]]),
        message.from_unparsable,
        message.dkim_checked,
        tuple(map(_signature, dkim)) if dkim else (),
        _arc(message.arc) if message.HasField("arc") else None,
        ScanOutcome(message.virus.outcome) if message.HasField("virus") else _NOT_SCANNED,
        _spam(message.spam) if message.HasField("spam") else None,
    )


def _spam(message: policy_pb2.SpamScan) -> SpamScan:
    return SpamScan(
        action=SpamAction(message.action) if message.action else SpamAction.ERROR,
        score=message.score,
        required_score=message.required_score,
        symbols=tuple(message.symbols),
        reason=message.reason,
    )


def _arc(message: policy_pb2.ArcChain) -> ArcChain:
    return ArcChain(_result(message.result), message.instances, _domain(message.sealer_domain))


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


def kept(given: Request) -> bytes:
    """Returns the request in the form for the history, and removes the credentials from it."""
    request: policy_pb2.DecideRequest = given  # type: ignore[assignment]
    if request.HasField("credentials"):
        request.ClearField("credentials")
    return request.SerializeToString()


def recalled(past: PastRequest) -> Step:
    decision_facts = all_facts(
        Request(policy_pb2.DecideRequest.FromString(past.kept)), past.snapshot, past.now, past.lookup_results
    )
    decision_facts.counts = past.counts
    return Step(decision_facts, past.verdict, past.snapshot)


def credentials(request: Request) -> Credentials:
    message = _message(request).credentials
    return Credentials(message.mechanism, message.authorization_identity, message.login, message.password)


# Answers are joined from serialised parts, which is possible because the fields of a message may have any order. The
# octets of equal verdicts differ only in the id of the request.


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)


# A varint has seven bits in each octet. Consecutive ids differ mostly in their last 14 bits.
_SEVEN_BITS = tuple(bytes((number | 128,)) for number in range(128))
_first_bits = lru_cache(maxsize=64)(_varint)


@lru_cache(maxsize=4096)
def _opening(octets: int) -> bytes:
    """Returns the beginning of an entry with this number of octets, and the id of its request."""
    return b"\n" + _varint(octets) + b"\x08"


def body(verdict: Verdict, revision: int) -> bytes:
    """Returns a serialised verdict without the id of the request."""
    message = policy_pb2.Verdict()
    fill(message, verdict, revision)
    return message.SerializeToString()


# The parts of an answer's body.
LOGIN_LAPSED = policy_pb2.Verdict(login_lapsed=True).SerializeToString()
# The key of each part is whether the message is marked as spam.
SPAM_FIELDS = {
    is_marked: policy_pb2.Verdict(spam_fields=policy_pb2.SpamFields(mark=is_marked)).SerializeToString()
    for is_marked in (False, True)
}


class HasRequestId(Protocol):
    """A value that has the id of a request, for an answer that is made later."""

    request_id: int


def answer(given: Request | HasRequestId, body: bytes) -> tuple[bytes, ...]:
    """Returns the entry of a VerdictFrame that answers a request with a body, in parts."""
    request: HasRequestId = given  # type: ignore[assignment]
    request_id = request.request_id
    if request_id >> 14:
        first = _first_bits(request_id >> 14)
        opening = _opening(len(first) + len(body) + 3)
        return opening, _SEVEN_BITS[request_id & 127], _SEVEN_BITS[request_id >> 7 & 127], first, body
    number = _varint(request_id)
    return _opening(len(number) + len(body) + 1), number, body


# The field of a VerdictFrame that asks the worker for its open sessions.
SEND_OPEN_SESSIONS = policy_pb2.VerdictFrame(send_open_sessions=True).SerializeToString()


def frame(answers: Iterable[bytes]) -> bytes:
    """Returns a VerdictFrame from the parts of entries."""
    return b"".join(answers)


def answered(answer: Iterable[bytes]) -> policy_pb2.Verdict:
    """Returns the verdict in an entry."""
    return policy_pb2.VerdictFrame.FromString(frame(answer)).verdicts[0]


def fill(message: policy_pb2.Verdict, verdict: Verdict, revision: int) -> None:
    """Writes a verdict into its message."""
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
    if verdict.refuses_message:
        message.refuses_message = True
    if verdict.verify_recipient:
        message.verify_recipient = True
    if verdict.account:
        message.account = verdict.account
        message.account_proof = verdict.account_proof
    if verdict.quarantine:
        message.quarantine = True
        message.quarantine_reasons.extend(verdict.quarantine)
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
    if checks.rspamd is not None:
        message.rspamd.url = checks.rspamd.url
        message.rspamd.password = checks.rspamd.password
        message.rspamd.timeout.FromTimedelta(checks.rspamd.timeout)
    return message


def _shadow(outcome: ShadowOutcome) -> policy_pb2.ShadowOutcome:
    return policy_pb2.ShadowOutcome(
        reason_id=outcome.reason_id,
        rule_id=outcome.rule_id,
        reply=None if outcome.reply is None else _reply(outcome.reply),
    )


def profile(given: SessionProfile) -> bytes:
    """Returns a profile as a part of an answer's body."""
    message = policy_pb2.SessionProfile(
        revision=given.revision,
        hostname=given.hostname,
        banner=given.banner,
        auth_mechanisms_plaintext=given.auth_mechanisms_plaintext,
        auth_mechanisms_tls=given.auth_mechanisms_tls,
        max_message_size=given.max_message_size,
        max_recipients=given.max_recipients,
        max_hops=given.max_hops,
        max_junk_commands=given.max_junk_commands,
        junk_commands_per_delay=given.junk_commands_per_delay,
        ask_stages=[stage.value for stage in given.ask_stages],  # type: ignore[misc]
        authserv_id=given.hostname,
        may_relay=given.may_relay,
        max_refused_recipients=given.max_refused_recipients,
    )
    return policy_pb2.Verdict(profile=message).SerializeToString()


@lru_cache(maxsize=16_384)
def result(one: AuthenticationResult) -> bytes:
    """Returns a result as a part of an answer's body."""
    message = policy_pb2.Verdict()
    result_message = message.results.add(method=one.method, result=_enum(one.result), reason=one.reason)
    for kind, name, value in one.properties:
        result_message.properties.add(type=kind, name=name, value=value)
    return message.SerializeToString()


def known_at_rcpt(results: Iterable[AuthenticationResult], client_name: str) -> bytes:
    """Returns the facts for rspamd as a part of an answer's body."""
    return b"".join(map(result, results)) + policy_pb2.Verdict(client_name=client_name).SerializeToString()


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


def _lookup_report(question: Question, lookup_result: LookupResult) -> policy_pb2.LookupReport:
    took = Duration(seconds=int(lookup_result.took), nanos=int(lookup_result.took % 1 * 1e9))
    detail = lookup_result.detail or " ".join(lookup_result.records)
    return policy_pb2.LookupReport(name=question.name, outcome=_enum(lookup_result.outcome), detail=detail, took=took)


def _fill_facts(message: policy_pb2.DecideRequest, decision_facts: Facts) -> None:
    """Writes the facts that the rules saw into a message, in the form of a request."""
    message.stage = decision_facts.stage  # type: ignore[assignment]
    session = message.session
    session.id = decision_facts.session_id
    session.client_address = decision_facts.client.address
    session.listener = decision_facts.listener  # type: ignore[assignment]
    session.helo_name = decision_facts.helo_name
    session.account_login = decision_facts.account.login if decision_facts.account is not None else ""
    session.junk_commands = decision_facts.junk_commands
    session.junk_commands_uncharged = decision_facts.junk_commands_uncharged
    session.pipelining_violation = decision_facts.pipelining_violation  # type: ignore[assignment]
    if decision_facts.tls:
        session.tls.SetInParent()
    message.transaction.sender = decision_facts.sender.wire
    message.transaction.declared_size = decision_facts.declared_size
    message.transaction.recipient = decision_facts.recipient.wire
    message.transaction.recipients.extend(recipient.wire for recipient in decision_facts.recipients)
    if decision_facts.content is not NO_CONTENT:
        message.content.size = decision_facts.content.size
        message.content.hops = decision_facts.content.hops
        message.content.from_fields = decision_facts.content.from_fields
        message.content.from_addresses.extend(author.wire for author in decision_facts.content.authors)
        message.content.dkim_checked = decision_facts.content.dkim_checked
        if decision_facts.content.spam is not None:
            message.content.spam.action = _enum(decision_facts.content.spam.action)
            message.content.spam.score = decision_facts.content.spam.score
            message.content.spam.required_score = decision_facts.content.spam.required_score
            message.content.spam.symbols.extend(decision_facts.content.spam.symbols)
            message.content.spam.reason = decision_facts.content.spam.reason


def assumptions(message: policy_pb2.AssumedFacts) -> tuple[dict[str, Outcome], float | None]:
    """Reads assumed look-ups by name, and the assumed time in seconds since the epoch, which is None when it is not
    given.
    """
    lookups = {name: Outcome(number) if number else Outcome.NO_ANSWER for name, number in message.lookups.items()}
    now = message.now.seconds + message.now.nanos / 1e9 if message.HasField("now") else None
    return lookups, now


def explanation(steps: Sequence[Step], asked: policy_pb2.DecideRequest | None) -> policy_pb2.ExplainResponse:
    """Returns the answer to Explain. `asked` has the facts that were given. `asked` is None for a past session."""
    response = policy_pb2.ExplainResponse()
    named: set[Question] = set()
    for step in steps:
        for rule_report in report(step.facts, step.snapshot):
            _rule_report(response.rules.add(), step.facts.stage, rule_report)
        for question, lookup_result in step.facts.lookup_results.items():
            if question not in named:
                named.add(question)
                response.lookups.append(_lookup_report(question, lookup_result))
    last = steps[-1]
    fill(response.verdict, last.verdict, last.snapshot.revision)
    if response.verdict.checks.HasField("rspamd"):
        response.verdict.checks.rspamd.ClearField("password")
    response.snapshot_revision = last.snapshot.revision
    if asked is not None:
        response.facts.CopyFrom(asked)
        response.facts.ClearField("credentials")
    else:
        _fill_facts(response.facts, last.facts)
    return response


def _rule_report(message: policy_pb2.RuleReport, stage: int, rule_report: RuleReport) -> None:
    message.stage = stage  # type: ignore[assignment]
    message.reason_id = rule_report.reason_id
    message.rule_id = rule_report.rule_id
    message.outcome = _enum(rule_report.outcome)
    message.skipped_by = rule_report.skipped_by
    message.explanation = rule_report.explanation
    if rule_report.reply is not None:
        message.reply.CopyFrom(_reply(rule_report.reply))


def _enum(value: Any) -> Any:
    """Returns the number of a value. policy.v1 has the same numbers."""
    return int(value)
