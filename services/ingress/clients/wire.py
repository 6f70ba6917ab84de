"""Converts between the values of ingress and the messages of policy.v1 and relay.v1."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.policy.v1 import policy_pb2
from posthouse.relay.v1 import relay_pb2

from libs.smtp.envelope import Body
from libs.smtp.parameters import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS
from libs.smtp.reply import Reply
from services.ingress.content_facts import ContentFacts
from services.ingress.session import Credentials, Discard, PastVerdict, Recipient, SessionFacts, Stage, Transaction
from services.ingress.submission import Refusal, Submission
from services.ingress.verdict import (
    NO_CHECKS,
    Action,
    AuthenticationResult,
    CheckResult,
    Checks,
    InvalidVerdictError,
    Profile,
    Rspamd,
    ShadowOutcome,
    Verdict,
)

_NANOSECONDS = 1_000_000_000
_LONGEST_DELAY_SECONDS = 60.0
_STAGES_THAT_HAPPEN = frozenset({Stage.CONNECT, Stage.AUTH, Stage.RCPT})


def _stamp(message: Timestamp, nanoseconds: int) -> None:
    message.seconds, message.nanos = divmod(nanoseconds, _NANOSECONDS)


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / _NANOSECONDS


def _number(value: enum.IntEnum) -> Any:
    """Returns the number of a value in protobuf messages. The enumerations of ingress have the same numbers."""
    return value


def _about(who: SessionFacts) -> policy_pb2.DecideRequest:
    """Returns a request with only the facts of the session. Most of them never change, and a copy costs a tenth of a
    new request. So the encoding of the last request is kept with the session, and only the new facts are changed in a
    copy.
    """
    facts = (
        who.helo_sent,
        who.esmtp,
        who.account,
        who.junk_commands,
        who.junk_commands_uncharged,
        who.violation,
        who.profile,
        who.tls,
    )
    if who.told is not None and who.told[0] == facts:
        return policy_pb2.DecideRequest.FromString(who.told[1])
    message = _opened(who) if who.told is None else policy_pb2.DecideRequest.FromString(who.told[1])
    session = message.session
    session.helo_name = who.helo_sent
    session.esmtp = who.esmtp
    session.account_login = who.account
    session.account_proof = who.account_proof
    session.junk_commands = who.junk_commands
    session.junk_commands_uncharged = who.junk_commands_uncharged
    session.pipelining_violation = _number(who.violation)
    session.profile_revision = 0 if who.profile is None else who.profile.revision
    if who.tls is not None:
        session.tls.version = who.tls.version
        session.tls.cipher = who.tls.cipher
        session.tls.server_name = who.tls.server_name
    who.told = (facts, message.SerializeToString())
    return message


def _opened(who: SessionFacts) -> policy_pb2.DecideRequest:
    """Returns a request with the facts that do not change during a session."""
    message = policy_pb2.DecideRequest()
    session, peer = message.session, who.peer
    session.id = who.id
    session.client_address = peer.client_address
    session.client_port = peer.client_port
    session.local_address = peer.local_address
    session.local_port = peer.local_port
    session.listener = _number(who.listener)
    _stamp(session.connected_at, who.connected_at)
    return message


_BODY = {
    None: policy_pb2.BODY_TYPE_UNSPECIFIED,
    Body.SEVEN_BIT: policy_pb2.BODY_TYPE_7BIT,
    Body.EIGHT_BIT_MIME: policy_pb2.BODY_TYPE_8BITMIME,
}


def _describe(message: policy_pb2.Transaction, facts: Transaction, recipient: bytes) -> None:
    parameters = facts.parameters
    # `SetInParent` makes the field present, even when all its members have their default values.
    message.SetInParent()
    message.sender = facts.sender
    message.recipient = recipient
    message.recipients_asked = facts.recipients_asked
    if facts.recipient_verification:
        message.recipient_verification = facts.recipient_verification  # type: ignore[assignment]
    if parameters is not NO_MAIL_PARAMETERS:
        message.declared_size = parameters.size
        message.body = _BODY[parameters.body]
        message.smtputf8 = parameters.smtputf8
    if recipient:
        message.recipient_count = len(facts.recipients)
    elif facts.recipients:
        message.recipients.extend([each.address for each in facts.recipients.values()])


def content(facts: ContentFacts) -> policy_pb2.Content:
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
    if facts.spam is not None:
        message.spam.action = _number(facts.spam.action)
        message.spam.score = facts.spam.score
        message.spam.required_score = facts.spam.required_score
        message.spam.symbols.extend(facts.spam.symbols)
        message.spam.reason = facts.spam.reason
    return message


def request(
    stage: Stage,
    who: SessionFacts,
    what: Transaction | None = None,
    *,
    recipient: bytes = b"",
    credentials: Credentials | None = None,
    content_facts: ContentFacts | None = None,
) -> policy_pb2.DecideRequest:
    message = _about(who)
    message.stage = _number(stage)
    if what is not None:
        _describe(message.transaction, what, recipient)
    if credentials is not None:
        message.credentials.mechanism = credentials.mechanism
        message.credentials.authorization_identity = credentials.authorization_identity
        message.credentials.login = credentials.login
        message.credentials.password = credentials.password
    if content_facts is not None:
        message.content.CopyFrom(content(content_facts))
    return message


def verdict(message: policy_pb2.Verdict) -> Verdict:
    """Returns the verdict in a message. Raises InvalidVerdictError for an answer that violates the contract. `message`
    is changed, and must not be used afterwards.
    """
    # Without its id, an answer is often equal to an earlier answer, whose verdict is used again.
    message.request_id = 0
    return _verdict(message.SerializeToString())


_REJECT = policy_pb2.ACTION_REJECT


@lru_cache(maxsize=1024)
def _verdict(serialised: bytes) -> Verdict:
    message = policy_pb2.Verdict.FromString(serialised)
    delay = _seconds(message.delay) if message.HasField("delay") else 0.0
    if not 0.0 <= delay <= _LONGEST_DELAY_SECONDS:
        raise InvalidVerdictError("delay out of range")
    try:
        action = Action(message.action)
    except ValueError:
        raise InvalidVerdictError("unknown action") from None
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
        account_proof=message.account_proof,
        login_lapsed=message.login_lapsed,
        refuses_message=message.refuses_message,
        verify_recipient=message.verify_recipient,
        results=tuple(_result(result) for result in message.results),
        quarantine=message.quarantine,
        shadow=tuple(ShadowOutcome(outcome.reason_id, outcome.rule_id) for outcome in message.shadow),
        quarantine_reasons=tuple(message.quarantine_reasons) or (("dmarc",) if message.quarantine else ()),
        spam_mark=message.spam_fields.mark if message.HasField("spam_fields") else None,
        client_name=message.client_name,
    )


def _reply(message: policy_pb2.Verdict) -> Reply:
    if not message.HasField("reply") or not 400 <= message.reply.code <= 599:
        raise InvalidVerdictError("a rejection needs a reply of 4xx or 5xx")
    kind = message.reply.code // 100
    return Reply(message.reply.code, message.reply.enhanced_code or f"{kind}.0.0", message.reply.text)


def _checks(message: policy_pb2.ContentChecks) -> Checks:
    return Checks(
        dkim=message.dkim,
        arc=message.arc,
        clamd=message.clamd,
        clamd_seconds=_seconds(message.clamd_timeout) if message.HasField("clamd_timeout") else 60.0,
        rspamd=_rspamd(message.rspamd) if message.HasField("rspamd") else None,
    )


def _rspamd(message: policy_pb2.Rspamd) -> Rspamd:
    return Rspamd(message.url, message.password, _seconds(message.timeout) if message.HasField("timeout") else 10.0)


def _result(message: policy_pb2.AuthenticationResult) -> AuthenticationResult:
    try:
        result = CheckResult(message.result)
    except ValueError:
        raise InvalidVerdictError("unknown check result") from None
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
        raise InvalidVerdictError("a profile needs a host name")
    return Profile(
        revision=message.revision,
        hostname=message.hostname,
        banner=message.banner,
        auth_plaintext=tuple(message.auth_mechanisms_plaintext),
        auth_tls=tuple(message.auth_mechanisms_tls),
        max_message_size=message.max_message_size,
        max_recipients=message.max_recipients,
        max_hops=message.max_hops,
        max_junk_commands=message.max_junk_commands,
        junk_commands_per_delay=message.junk_commands_per_delay,
        ask_stages=_STAGES_THAT_HAPPEN | frozenset(message.ask_stages),
        authserv_id=message.authserv_id or message.hostname,
        may_relay=message.may_relay,
        max_refused_recipients=message.max_refused_recipients,
    )


def _add_recipient(envelope: relay_pb2.Envelope, recipient: Recipient, discard: Discard | None) -> None:
    parameters = recipient.parameters
    message = envelope.recipients.add(address=recipient.address)
    if parameters is not NO_RCPT_PARAMETERS:
        message.notify.extend(parameters.notify)
        message.original_recipient = parameters.original_recipient
    if discard is not None:
        message.discarded = True
        message.discard_reason = discard.reason_id
        message.discard_rule_id = discard.rule_id


def submission(message: relay_pb2.Submission, handed: Submission, inline: bytes) -> None:
    """Fills the message in place. Assigning it to a field would copy it, with its content, several times."""
    who, what = handed.session, handed.transaction
    message.id = handed.id
    message.content_size = handed.size
    message.content = inline
    message.quarantine = handed.quarantine
    _stamp(message.received_at, handed.received_at)
    if what.check_results:
        message.check_results.extend(what.check_results)
    envelope, parameters = message.envelope, what.parameters
    envelope.sender = what.sender
    for recipient in what.recipients.values():
        _add_recipient(envelope, recipient, handed.discard_of(recipient))
    if parameters is not NO_MAIL_PARAMETERS:
        envelope.smtputf8 = parameters.smtputf8
        envelope.body_8bitmime = parameters.body is Body.EIGHT_BIT_MIME
        envelope.ret = parameters.ret or ""
        envelope.envelope_id = parameters.envelope_id
    origin = message.origin
    origin.session_id = who.id
    origin.client_address = who.peer.client_address
    origin.helo_name = who.helo_sent
    origin.account_login = who.account
    origin.listener = who.listener.label
    origin.tls = who.tls is not None
    origin.may_relay = handed.may_relay
    if who.verdicts or what.verdicts:
        for past in (*who.verdicts, *what.verdicts):
            _past_verdict(message.verdicts.add(), past)


def _past_verdict(message: relay_pb2.SessionVerdict, past: PastVerdict) -> None:
    verdict = past.verdict
    _stamp(message.at, past.at)
    message.stage = past.stage.name
    message.action = verdict.action.name.lower()
    if verdict.reply is not None:
        message.code = verdict.reply.code
        message.enhanced_code = verdict.reply.enhanced
    message.reason_id = verdict.reason_id
    message.rule_id = verdict.rule_id
    for outcome in verdict.shadow:
        message.shadow.add(reason_id=outcome.reason_id, rule_id=outcome.rule_id)


def refused(refusal: Refusal) -> relay_pb2.RefusedMessage:
    message = relay_pb2.RefusedMessage(
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
        listener=refusal.listener,
        tls=refusal.tls,
        message_id=refusal.message_id,
        check_results=refusal.check_results,
    )
    _stamp(message.refused_at, refusal.refused_at)
    for past in refusal.verdicts:
        _past_verdict(message.verdicts.add(), past)
    return message


def add_closed_sessions(frame: policy_pb2.DecideFrame, sessions: Mapping[str, str]) -> None:
    """Writes ended sessions into a frame. `sessions` has the address of the client for each session id."""
    add = frame.closed_sessions.add
    for session_id, address in sessions.items():
        add(session_id=session_id, client_address=address)


def add_open_sessions(frame: policy_pb2.DecideFrame, sessions: Mapping[str, str], settled_before: int) -> None:
    """Writes all open sessions into a frame. `sessions` has the address of the client for each session id."""
    frame.open_sessions.settled_before = settled_before
    add = frame.open_sessions.sessions.add
    for session_id, address in sessions.items():
        add(session_id=session_id, client_address=address)
