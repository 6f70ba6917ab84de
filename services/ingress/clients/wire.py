"""Between the values of ingress and the messages of policy.v1 and relay.v1."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.policy.v1 import policy_pb2
from posthouse.relay.v1 import relay_pb2

from libs.smtp.envelope import Body
from libs.smtp.parameters import NO_RCPT_PARAMETERS
from libs.smtp.reply import Reply
from services.ingress.findings import Findings
from services.ingress.session import Credentials, Discard, Recipient, Session, Stage, Transaction
from services.ingress.submission import Refusal, Submission
from services.ingress.verdict import (
    NO_CHECKS,
    Action,
    AuthenticationResult,
    CheckResult,
    Checks,
    NonsenseError,
    Profile,
    Verdict,
)

_NANOSECONDS = 1_000_000_000
_LONGEST_DELAY_SECONDS = 60.0
_STAGES_THAT_HAPPEN = frozenset({Stage.CONNECT, Stage.AUTH, Stage.RCPT})


def _timestamp(nanoseconds: int) -> Timestamp:
    return Timestamp(seconds=nanoseconds // _NANOSECONDS, nanos=nanoseconds % _NANOSECONDS)


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / _NANOSECONDS


def _number(value: enum.IntEnum) -> Any:
    """Our enumerations have the contract's numbers."""
    return value.value


def session(facts: Session) -> policy_pb2.Session:
    peer = facts.peer
    message = policy_pb2.Session(
        id=facts.id,
        client_address=peer.client_address,
        client_port=peer.client_port,
        local_address=peer.local_address,
        local_port=peer.local_port,
        listener=_number(facts.listener),
        helo_name=facts.helo_sent,
        esmtp=facts.esmtp,
        account_login=facts.account,
        junk_commands=facts.junk_commands,
        junk_commands_uncharged=facts.junk_commands_uncharged,
        pipelining_violation=_number(facts.violation),
        profile_revision=0 if facts.profile is None else facts.profile.revision,
        connected_at=_timestamp(facts.connected_at),
    )
    if facts.tls is not None:
        message.tls.version = facts.tls.version
        message.tls.cipher = facts.tls.cipher
        message.tls.server_name = facts.tls.server_name
    return message


_BODY = {
    None: policy_pb2.BODY_TYPE_UNSPECIFIED,
    Body.SEVEN_BIT: policy_pb2.BODY_TYPE_7BIT,
    Body.EIGHT_BIT_MIME: policy_pb2.BODY_TYPE_8BITMIME,
}


def transaction(facts: Transaction, recipient: bytes) -> policy_pb2.Transaction:
    return policy_pb2.Transaction(
        sender=facts.sender.wire(),
        declared_size=facts.parameters.size,
        body=_BODY[facts.parameters.body],
        smtputf8=facts.parameters.smtputf8,
        recipient=recipient,
        recipients=[each.address.wire() for each in facts.recipients.values()],
    )


def content(facts: Findings) -> policy_pb2.Content:
    message = policy_pb2.Content(
        size=facts.size,
        hops=facts.hops,
        from_fields=facts.from_fields,
        from_addresses=[address.wire() for address in facts.from_addresses],
        from_unparsable=facts.from_unparsable,
        dkim_checked=facts.dkim is not None,
        dkim=[
            policy_pb2.DkimSignature(
                result=_number(signature.result),
                domain=signature.domain,
                selector=signature.selector,
                algorithm=signature.algorithm,
                signature_prefix=signature.signature_prefix,
                identity=signature.identity,
                reason=signature.reason,
            )
            for signature in facts.dkim or ()
        ],
    )
    if facts.arc is not None:
        message.arc.result = _number(facts.arc.result)
        message.arc.instances = facts.arc.instances
        message.arc.sealer_domain = facts.arc.sealer_domain
    if facts.virus is not None:
        message.virus.outcome = _number(facts.virus.outcome)
        message.virus.signature = facts.virus.signature
        message.virus.reason = facts.virus.reason
    return message


def request(
    stage: Stage,
    who: Session,
    what: Transaction | None = None,
    *,
    recipient: bytes = b"",
    credentials: Credentials | None = None,
    findings: Findings | None = None,
) -> policy_pb2.DecideRequest:
    message = policy_pb2.DecideRequest(stage=_number(stage), session=session(who))
    if what is not None:
        message.transaction.CopyFrom(transaction(what, recipient))
    if credentials is not None:
        message.credentials.mechanism = credentials.mechanism
        message.credentials.authorization_identity = credentials.authorization_identity
        message.credentials.login = credentials.login
        message.credentials.password = credentials.password
    if findings is not None:
        message.content.CopyFrom(content(findings))
    return message


_PLAIN_ACCEPT = Verdict(Action.ACCEPT)
_ACCEPT = policy_pb2.ACTION_ACCEPT
_REJECT = policy_pb2.ACTION_REJECT


def verdict(message: policy_pb2.Verdict) -> Verdict:
    """Raises NonsenseError for an answer that the contract does not know."""
    if message.action == _ACCEPT and not _says_more(message):
        return _PLAIN_ACCEPT
    delay = _seconds(message.delay) if message.HasField("delay") else 0.0
    if not 0.0 <= delay <= _LONGEST_DELAY_SECONDS:
        raise NonsenseError("delay out of range")
    try:
        action = Action(message.action)
    except ValueError:
        raise NonsenseError("unknown action") from None
    return Verdict(
        action=action,
        reply=_reply(message) if message.action == _REJECT else None,
        close=message.close,
        reason_id=message.reason_id,
        rule_id=message.rule_id,
        delay=delay,
        profile=_profile(message.profile.SerializeToString()) if message.HasField("profile") else None,
        checks=_checks(message.checks) if message.HasField("checks") else NO_CHECKS,
        account=message.account,
        results=tuple(_result(each) for each in message.results),
        quarantine=message.quarantine,
    )


def _says_more(message: policy_pb2.Verdict) -> bool:
    """Whether an ACCEPT says anything more than that."""
    return bool(
        message.HasField("profile")
        or message.HasField("checks")
        or message.HasField("delay")
        or message.account
        or message.results
        or message.quarantine
        or message.close
    )


def _reply(message: policy_pb2.Verdict) -> Reply:
    if not message.HasField("reply") or not 400 <= message.reply.code <= 599:
        raise NonsenseError("a rejection needs a reply of 4xx or 5xx")
    kind = message.reply.code // 100
    return Reply(message.reply.code, message.reply.enhanced_code or f"{kind}.0.0", message.reply.text)


def _checks(message: policy_pb2.ContentChecks) -> Checks:
    return Checks(
        dkim=message.dkim,
        arc=message.arc,
        clamd=message.clamd,
        clamd_seconds=_seconds(message.clamd_timeout) if message.HasField("clamd_timeout") else 60.0,
    )


def _result(message: policy_pb2.AuthenticationResult) -> AuthenticationResult:
    try:
        result = CheckResult(message.result)
    except ValueError:
        raise NonsenseError("unknown check result") from None
    return AuthenticationResult(
        method=message.method,
        result=result,
        reason=message.reason,
        properties=tuple((each.type, each.name, each.value) for each in message.properties),
    )


@lru_cache(maxsize=256)
def _profile(serialised: bytes) -> Profile:
    message = policy_pb2.SessionProfile.FromString(serialised)
    if not message.hostname:
        raise NonsenseError("a profile needs a host name")
    return Profile(
        revision=message.revision,
        hostname=message.hostname,
        banner=message.banner,
        auth_plaintext=tuple(message.auth_mechanisms_plaintext),
        auth_tls=tuple(message.auth_mechanisms_tls),
        max_message_size=message.max_message_size,
        max_recipients=message.max_recipients,
        reject_over_recipient_limit=message.reject_message_over_recipient_limit,
        max_hops=message.max_hops,
        max_junk_commands=message.max_junk_commands,
        junk_commands_per_delay=message.junk_commands_per_delay,
        ask_stages=_STAGES_THAT_HAPPEN | frozenset(message.ask_stages),
        authserv_id=message.authserv_id or message.hostname,
    )


def _recipient(recipient: Recipient, discard: Discard | None) -> relay_pb2.Recipient:
    parameters = recipient.parameters
    message = relay_pb2.Recipient(address=recipient.address.wire())
    if parameters is not NO_RCPT_PARAMETERS:
        message.notify.extend(parameters.notify)
        message.original_recipient = parameters.original_recipient
    if discard is not None:
        message.discarded = True
        message.discard_reason = discard.reason_id
        message.discard_rule_id = discard.rule_id
    return message


def submission(handed: Submission, inline: bytes) -> relay_pb2.Submission:
    who, what = handed.session, handed.transaction
    return relay_pb2.Submission(
        id=handed.id,
        envelope=relay_pb2.Envelope(
            sender=what.sender.wire(),
            recipients=[_recipient(each, handed.discard_of(each)) for each in what.recipients.values()],
            smtputf8=what.parameters.smtputf8,
            body_8bitmime=what.parameters.body is Body.EIGHT_BIT_MIME,
            ret=what.parameters.ret or "",
            envelope_id=what.parameters.envelope_id,
        ),
        origin=relay_pb2.Origin(
            session_id=who.id,
            client_address=who.peer.client_address,
            helo_name=who.helo_sent,
            account_login=who.account,
            listener=who.listener.label,
            tls=who.tls is not None,
        ),
        content_size=handed.size,
        content=inline,
        quarantine=handed.quarantine,
        received_at=_timestamp(handed.received_at),
    )


def refused(refusal: Refusal) -> relay_pb2.RefusedMessage:
    return relay_pb2.RefusedMessage(
        session_id=refusal.session_id,
        client_address=refusal.client_address,
        helo_name=refusal.helo_name,
        account_login=refusal.account,
        sender=refusal.sender,
        recipients=refusal.recipients,
        code=refusal.reply.code,
        enhanced_code=refusal.reply.enhanced,
        text=refusal.reply.text,
        reason_id=refusal.reason_id,
        rule_id=refusal.rule_id,
        stage=refusal.stage,
        refused_at=_timestamp(refusal.refused_at),
        discarded=refusal.discarded,
    )


def decide_frame(
    requests: Sequence[policy_pb2.DecideRequest], closed: Sequence[str], resumed: Sequence[tuple[str, str]]
) -> policy_pb2.DecideFrame:
    return policy_pb2.DecideFrame(
        requests=requests,
        closed_session_ids=closed,
        resumed_sessions=[
            policy_pb2.ResumedSession(session_id=session_id, client_address=address) for session_id, address in resumed
        ],
    )


def submit_frame(
    submissions: Sequence[relay_pb2.Submission],
    chunks: Sequence[relay_pb2.SubmissionChunk],
    abandoned: Sequence[str],
    refusals: Sequence[relay_pb2.RefusedMessage],
) -> relay_pb2.SubmitFrame:
    return relay_pb2.SubmitFrame(
        submissions=submissions, chunks=chunks, abandoned_submission_ids=abandoned, refused=refusals
    )


def chunk(submission_id: str, data: bytes, *, last: bool) -> relay_pb2.SubmissionChunk:
    return relay_pb2.SubmissionChunk(submission_id=submission_id, data=data, last=last)
