"""From the end of the content to the answer: findings, checks, the last decision, trace fields, handing to relay."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import structlog

from libs.smtp import header
from libs.smtp.reply import (
    BAD_CONTENT,
    BARE_LINE_END,
    MESSAGE_ACCEPTED,
    MESSAGE_TOO_BIG,
    STORAGE,
    TOO_MANY_HOPS,
    TRY_AGAIN,
    Reply,
)
from services.ingress import results, trace
from services.ingress.content import Content, Rewritten
from services.ingress.data import Fault
from services.ingress.dialogue import Dialogue
from services.ingress.findings import Findings, ScanOutcome
from services.ingress.handler.hooks import Hooks
from services.ingress.session import Discard, Stage, Transaction
from services.ingress.spam import Question, spam_fields, without_spam_fields
from services.ingress.submission import HandoverError, Submission
from services.ingress.verdict import Action, Verdict

log = structlog.get_logger(__name__)

FAULTS = {
    Fault.TOO_BIG: MESSAGE_TOO_BIG,
    Fault.LINE_TOO_LONG: BAD_CONTENT.with_text("Line too long"),
    Fault.BARE_NEWLINE: BARE_LINE_END,
    Fault.NUL_OCTET: BAD_CONTENT.with_text("Content must not hold NUL octets"),
    Fault.STORAGE: STORAGE,
}
_QUEUE_ID_OCTETS = 64
_HEADER_TOO_LONG = BAD_CONTENT.with_text("Header too long")


async def finish(dialogue: Dialogue, content: Content, fault: Fault | None) -> None:
    """Answers the end of the content, once. The caller clears the transaction, whatever happens here (C15)."""
    transaction = dialogue.transaction
    assert transaction is not None  # noqa: S101
    if fault is None:
        try:
            content.complete()
        except OSError:
            fault = Fault.STORAGE
    if fault is not None:
        await refuse(dialogue, FAULTS[fault], fault.value)
        return
    limits, profile = dialogue.services.limits, dialogue.profile
    where = header.boundary(content.head)
    if where.header_end > limits.max_header_octets:
        await refuse(dialogue, _HEADER_TOO_LONG, "header_too_long")
        return
    head = header.unambiguous(content.head[: where.header_end])
    if len(head) < where.header_end:
        content.replace_start(where.header_end, head)
        where = header.boundary(content.head)
    hops = header.count(head, b"received")
    if profile.max_hops and hops > profile.max_hops:
        await refuse(dialogue, TOO_MANY_HOPS, "too_many_hops", _message_id(head))
        return
    verdict = await _last_decision(dialogue, content, head, hops)
    if verdict is not None and verdict.action is Action.REJECT and verdict.reply is not None:
        dialogue.report(verdict, Stage.END_OF_DATA, _recipients(transaction), message_id=_message_id(head))
        dialogue.services.metrics.messages["rejected"] += 1
        dialogue.reply(verdict.reply)
        return
    if verdict is not None and verdict.action is Action.DISCARD:
        transaction.discard = Discard(verdict.reason_id, verdict.rule_id)
    if verdict is not None and verdict.spam_mark is not None:
        head = without_spam_fields(head)
        if len(head) < where.header_end:
            content.replace_start(where.header_end, head)
            where = header.boundary(content.head)
    if dialogue.services.hooks is not None and not transaction.all_discarded:
        if not await _passes_handler(dialogue, dialogue.services.hooks, content):
            return
        where = header.boundary(content.head)
        head = header.unambiguous(content.head[: where.header_end])
    if dialogue.connection.lost:
        # Nobody would learn of it: the client will send it again (C34).
        dialogue.services.metrics.messages["client_gone"] += 1
        return
    await _hand_over(dialogue, content, head, where.body_start, verdict)


async def _passes_handler(dialogue: Dialogue, hooks: Hooks, content: Content) -> bool:
    """Whether the site's handler lets the message go on; it may have changed the content. Else it is answered."""
    transaction = dialogue.transaction
    assert transaction is not None  # noqa: S101
    refusal = await hooks.data(dialogue.caller(), transaction, content)
    if refusal is None:
        return True
    dialogue.services.metrics.messages["handler"] += 1
    dialogue.refuse_by_handler(refusal, Stage.END_OF_DATA, _recipients(transaction))
    return False


async def refuse(dialogue: Dialogue, reply: Reply, reason_id: str, message_id: bytes = b"") -> None:
    """Answers content that can't be taken, for reasons of its own."""
    transaction = dialogue.transaction
    if transaction is not None:
        recipients = _recipients(transaction)
        dialogue.record(reply, Stage.END_OF_DATA, recipients, reason_id, "", message_id=message_id)
    dialogue.services.metrics.messages[reason_id] += 1
    log.info("content_refused", session_id=dialogue.session.id, reason_id=reason_id)
    dialogue.reply(reply)


def _message_id(head: bytes) -> bytes:
    """The first one; empty when there is none."""
    return next(iter(header.values(head, b"message-id")), b"")


def _recipients(transaction: Transaction) -> tuple[bytes, ...]:
    return tuple(each.address for each in transaction.recipients.values())


async def _last_decision(dialogue: Dialogue, content: Content, head: bytes, hops: int) -> Verdict | None:
    """Runs the checks that policy asked for, and asks it; None when there is nothing to decide.

    The verdict's results are those to be written into the message: policy's and ours.
    """
    transaction = dialogue.transaction
    assert transaction is not None  # noqa: S101
    wanted = transaction.checks
    if transaction.all_discarded or not (wanted.wanted or Stage.END_OF_DATA in dialogue.profile.ask_stages):
        return None
    author = header.from_mailboxes(head)
    findings = Findings(
        size=content.size,
        hops=hops,
        from_fields=author.field_count,
        from_addresses=author.addresses,
        from_unparsable=author.unparsable,
    )
    if wanted.wanted:
        # For what the checks have to say.
        structlog.contextvars.bind_contextvars(session_id=dialogue.session.id)
        findings = await dialogue.connection.while_there(_checked(dialogue, content, head, findings))
    verdict = await dialogue.decide(Stage.END_OF_DATA, findings=findings)
    return replace(verdict, results=results.of_findings(findings, verdict.results))


async def _checked(dialogue: Dialogue, content: Content, head: bytes, findings: Findings) -> Findings:
    """With the results of the checks that policy asked for. rspamd comes last, since it is told of the others."""
    transaction = dialogue.transaction
    assert transaction is not None  # noqa: S101
    wanted, checker = transaction.checks, dialogue.services.checker
    dkim, arc, virus = await checker.run(wanted, content, dialogue.session.peer.client_address)
    findings = replace(findings, dkim=dkim, arc=arc, virus=virus)
    if wanted.rspamd is None or (virus is not None and virus.outcome is ScanOutcome.INFECTED):
        return findings
    authserv_id = dialogue.profile.authserv_id
    known = results.of_findings(findings, transaction.envelope_results)
    shown = (results.field(authserv_id, known) if known else b"") + results.without_forged(head, authserv_id)
    question = Question(
        dialogue.session,
        transaction,
        dialogue.profile.hostname,
        shown + content.head[len(head) :],
        len(shown) + content.size - len(head),
    )
    spam = await checker.ask_rspamd(wanted.rspamd, question, content)
    transaction.check_results += (spam.sentence,)
    transaction.spam_score = spam.score
    return replace(findings, spam=spam)


async def _hand_over(
    dialogue: Dialogue, content: Content, head: bytes, body_start: int, verdict: Verdict | None
) -> None:
    session, transaction = dialogue.session, dialogue.transaction
    assert transaction is not None  # noqa: S101
    now = time.time_ns()
    # The time comes first: relay's index of them grows at its end, and is not written at as many places as it has ids.
    submission_id = f"{now // 1_000_000:012x}{os.urandom(10).hex()}"
    rewritten = Rewritten(
        (*_header(dialogue, head, verdict, submission_id, now), memoryview(content.head)[body_start:]), content
    )
    submission = Submission(
        id=submission_id,
        session=session,
        transaction=transaction,
        content=rewritten,
        size=rewritten.size,
        received_at=now,
        quarantine=verdict is not None and verdict.quarantine,
        may_relay=dialogue.profile.may_relay,
    )
    try:
        queue_id = await dialogue.services.relay.submit(submission)
    except HandoverError as error:
        dialogue.services.metrics.relay_failures += 1
        dialogue.services.metrics.messages["not_stored"] += 1
        dialogue.services.relay_outage.failed(session_id=session.id, submission_id=submission_id, reason=error.reason)
        dialogue.reply(error.reply if error.reply.is_temporary else TRY_AGAIN)
        return
    if dialogue.services.relay_outage.lasts:
        dialogue.services.relay_outage.succeeded()
    _accepted(dialogue, submission, queue_id)


def _header(
    dialogue: Dialogue, head: bytes, verdict: Verdict | None, submission_id: str, now: int
) -> tuple[bytes, ...]:
    """The header as it is handed on, with the empty line: our fields first, the client's without what must not pass."""
    session, transaction, profile = dialogue.session, dialogue.transaction, dialogue.profile
    assert transaction is not None  # noqa: S101
    submitted = session.on_submission_port or bool(session.account)
    clean = results.without_forged(trace.without_forbidden(head, submission=submitted), profile.authserv_id)
    added = b""
    if submitted:
        added, clean = trace.completion(clean, profile.hostname, submission_id, now)
    ending = b"\r\n" if not clean or clean.endswith(b"\r\n") else b"\r\n\r\n"
    return (
        results.field(profile.authserv_id, verdict.results) if verdict is not None and verdict.results else b"",
        _marks(verdict, transaction.spam_score) if verdict is not None else b"",
        trace.received(session, transaction, submission_id, now),
        added,
        clean,
        ending,
    )


def _marks(verdict: Verdict, spam_score: float) -> bytes:
    marks = results.quarantine_field(verdict.quarantine_reasons) if verdict.quarantine else b""
    return marks + spam_fields(spam_score) if verdict.spam_mark else marks


def _accepted(dialogue: Dialogue, submission: Submission, queue_id: str) -> None:
    session, connection = dialogue.session, dialogue.connection
    session.messages += 1
    session.junk_commands = session.junk_commands_uncharged = 0
    if session.messages == 1:
        limits = dialogue.services.limits
        connection.session_deadline += limits.session_seconds - limits.mailless_session_seconds
    discarded = submission.transaction.all_discarded
    dialogue.services.metrics.messages["discarded" if discarded else "accepted"] += 1
    dialogue.services.mail_log.stored(submission, queue_id, answered=not connection.lost)
    reply = MESSAGE_ACCEPTED.with_text(f"Message accepted as {queue_id}")
    if queue_id.isascii() and queue_id.isalnum() and len(queue_id) <= _QUEUE_ID_OCTETS:
        # No need to clean it, nor to keep what is never said again among the rendered replies.
        dialogue.services.metrics.replies[reply.code] += 1
        connection.send(f"{reply.code} {reply.enhanced} {reply.text}\r\n".encode("ascii"))
    else:
        dialogue.reply(reply)
