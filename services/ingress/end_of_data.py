"""The steps from the end of the content to the answer: facts, checks, the last decision, trace fields, and the
submission to relay.
"""

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
from services.ingress import authentication_results, trace
from services.ingress.content import Content, Rewritten
from services.ingress.content_facts import ContentFacts, ScanOutcome
from services.ingress.data import Fault
from services.ingress.handler.hooks import Hooks
from services.ingress.session import Discard, Stage, Transaction
from services.ingress.smtp_session import SmtpSession
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


async def finish(smtp_session: SmtpSession, content: Content, fault: Fault | None) -> None:
    """Answers the end of the content once. The caller clears the transaction, whatever happens here (C15)."""
    transaction = smtp_session.transaction
    assert transaction is not None  # noqa: S101
    if fault is None:
        try:
            content.complete()
        except OSError:
            fault = Fault.STORAGE
    if fault is not None:
        await refuse(smtp_session, FAULTS[fault], fault.value)
        return
    limits, profile = smtp_session.context.limits, smtp_session.profile
    where = header.boundary(content.head)
    if where.header_end > limits.max_header_octets:
        await refuse(smtp_session, _HEADER_TOO_LONG, "header_too_long")
        return
    head = header.unambiguous(content.head[: where.header_end])
    if len(head) < where.header_end:
        content.replace_start(where.header_end, head)
        where = header.boundary(content.head)
    hops = header.count(head, b"received")
    if profile.max_hops and hops > profile.max_hops:
        await refuse(smtp_session, TOO_MANY_HOPS, "too_many_hops", _message_id(head))
        return
    verdict = await _last_decision(smtp_session, content, head, hops)
    if verdict is not None and verdict.action is Action.REJECT and verdict.reply is not None:
        smtp_session.report(verdict, Stage.END_OF_DATA, _recipients(transaction), message_id=_message_id(head))
        smtp_session.context.metrics.messages["rejected"] += 1
        smtp_session.reply(verdict.reply)
        return
    if verdict is not None and verdict.action is Action.DISCARD:
        transaction.discard = Discard(verdict.reason_id, verdict.rule_id)
    if verdict is not None and verdict.spam_mark is not None:
        head = without_spam_fields(head)
        if len(head) < where.header_end:
            content.replace_start(where.header_end, head)
            where = header.boundary(content.head)
    if smtp_session.context.hooks is not None and not transaction.all_discarded:
        if not await _passes_handler(smtp_session, smtp_session.context.hooks, content):
            return
        where = header.boundary(content.head)
        head = header.unambiguous(content.head[: where.header_end])
    if smtp_session.connection.lost:
        # The client is gone and would not get the answer, so it will send the message again (C34).
        smtp_session.context.metrics.messages["client_gone"] += 1
        return
    await _hand_over(smtp_session, content, head, where.body_start, verdict)


async def _passes_handler(smtp_session: SmtpSession, hooks: Hooks, content: Content) -> bool:
    """Whether the site's handler lets the message continue. The handler may have changed the content. If the result is
    False, the message was already answered.
    """
    transaction = smtp_session.transaction
    assert transaction is not None  # noqa: S101
    refusal = await hooks.data(smtp_session.caller(), transaction, content)
    if refusal is None:
        return True
    smtp_session.context.metrics.messages["handler"] += 1
    smtp_session.refuse_by_handler(refusal, Stage.END_OF_DATA, _recipients(transaction))
    return False


async def refuse(smtp_session: SmtpSession, reply: Reply, reason_id: str, message_id: bytes = b"") -> None:
    """Answers and records content that ingress refuses without asking policy."""
    transaction = smtp_session.transaction
    if transaction is not None:
        recipients = _recipients(transaction)
        smtp_session.record(reply, Stage.END_OF_DATA, recipients, reason_id, "", message_id=message_id)
    smtp_session.context.metrics.messages[reason_id] += 1
    log.info("content_refused", session_id=smtp_session.session.id, reason_id=reason_id)
    smtp_session.reply(reply)


def _message_id(head: bytes) -> bytes:
    """Returns the first Message-ID of a header. The result is empty when there is none."""
    return next(iter(header.values(head, b"message-id")), b"")


def _recipients(transaction: Transaction) -> tuple[bytes, ...]:
    return tuple(recipient.address for recipient in transaction.recipients.values())


async def _last_decision(smtp_session: SmtpSession, content: Content, head: bytes, hops: int) -> Verdict | None:
    """Runs the checks that policy asked for, and then asks policy. Returns None when there is nothing to decide. The
    results of the verdict, from policy and from ingress, must be written into the message.
    """
    transaction = smtp_session.transaction
    assert transaction is not None  # noqa: S101
    checks = transaction.checks
    if transaction.all_discarded or not (checks.wanted or Stage.END_OF_DATA in smtp_session.profile.ask_stages):
        return None
    author = header.from_mailboxes(head)
    content_facts = ContentFacts(
        size=content.size,
        hops=hops,
        from_fields=author.field_count,
        from_addresses=author.addresses,
        from_unparsable=author.unparsable,
    )
    if checks.wanted:
        # With this, the log lines of the checks name the session.
        structlog.contextvars.bind_contextvars(session_id=smtp_session.session.id)
        content_facts = await smtp_session.connection.while_there(_checked(smtp_session, content, head, content_facts))
    verdict = await smtp_session.decide(Stage.END_OF_DATA, content_facts=content_facts)
    return replace(
        verdict,
        results=authentication_results.of_content_facts(content_facts, verdict.results),
    )


async def _checked(
    smtp_session: SmtpSession, content: Content, head: bytes, content_facts: ContentFacts
) -> ContentFacts:
    """Adds the results of the checks that policy asked for. rspamd is asked last, because it gets the other results. It
    is not asked about a message with a virus.
    """
    transaction = smtp_session.transaction
    assert transaction is not None  # noqa: S101
    checks, checker = transaction.checks, smtp_session.context.checker
    dkim, arc, virus = await checker.run(checks, content, smtp_session.session.peer.client_address)
    content_facts = replace(content_facts, dkim=dkim, arc=arc, virus=virus)
    if checks.rspamd is None or (virus is not None and virus.outcome is ScanOutcome.INFECTED):
        return content_facts
    authserv_id = smtp_session.profile.authserv_id
    results = authentication_results.of_content_facts(content_facts, transaction.envelope_results)
    shown = (
        authentication_results.field(authserv_id, results) if results else b""
    ) + authentication_results.without_forged(head, authserv_id)
    question = Question(
        smtp_session.session,
        transaction,
        smtp_session.profile.hostname,
        shown + content.head[len(head) :],
        len(shown) + content.size - len(head),
    )
    spam = await checker.ask_rspamd(checks.rspamd, question, content)
    transaction.check_results += (spam.sentence,)
    transaction.spam_score = spam.score
    return replace(content_facts, spam=spam)


async def _hand_over(
    smtp_session: SmtpSession, content: Content, head: bytes, body_start: int, verdict: Verdict | None
) -> None:
    session, transaction = smtp_session.session, smtp_session.transaction
    assert transaction is not None  # noqa: S101
    now = time.time_ns()
    # The time comes first, so that relay's index of these ids grows at its end, and a commit writes few of its pages.
    submission_id = f"{now // 1_000_000:012x}{os.urandom(10).hex()}"
    rewritten = Rewritten(
        (*_header(smtp_session, head, verdict, submission_id, now), memoryview(content.head)[body_start:]), content
    )
    submission = Submission(
        id=submission_id,
        session=session,
        transaction=transaction,
        content=rewritten,
        size=rewritten.size,
        received_at=now,
        quarantine=verdict is not None and verdict.quarantine,
        may_relay=smtp_session.profile.may_relay,
    )
    try:
        queue_id = await smtp_session.context.relay.submit(submission)
    except HandoverError as error:
        smtp_session.context.metrics.relay_failures += 1
        smtp_session.context.metrics.messages["not_stored"] += 1
        smtp_session.context.relay_outage.failed(
            session_id=session.id, submission_id=submission_id, reason=error.reason
        )
        smtp_session.reply(error.reply if error.reply.is_temporary else TRY_AGAIN)
        return
    if smtp_session.context.relay_outage.lasts:
        smtp_session.context.relay_outage.succeeded()
    _accepted(smtp_session, submission, queue_id)


def _header(
    smtp_session: SmtpSession, head: bytes, verdict: Verdict | None, submission_id: str, now: int
) -> tuple[bytes, ...]:
    """Returns the header for relay, with the empty line: our fields first, and then the fields of the client without
    those that must not be passed on.
    """
    session, transaction, profile = smtp_session.session, smtp_session.transaction, smtp_session.profile
    assert transaction is not None  # noqa: S101
    submitted = session.on_submission_port or bool(session.account)
    clean = authentication_results.without_forged(
        trace.without_forbidden(head, submission=submitted), profile.authserv_id
    )
    added = b""
    if submitted:
        added, clean = trace.completion(clean, profile.hostname, submission_id, now)
    ending = b"\r\n" if not clean or clean.endswith(b"\r\n") else b"\r\n\r\n"
    return (
        authentication_results.field(profile.authserv_id, verdict.results)
        if verdict is not None and verdict.results
        else b"",
        _marks(verdict, transaction.spam_score) if verdict is not None else b"",
        trace.received(session, transaction, submission_id, now),
        added,
        clean,
        ending,
    )


def _marks(verdict: Verdict, spam_score: float) -> bytes:
    marks = authentication_results.quarantine_field(verdict.quarantine_reasons) if verdict.quarantine else b""
    return marks + spam_fields(spam_score) if verdict.spam_mark else marks


def _accepted(smtp_session: SmtpSession, submission: Submission, queue_id: str) -> None:
    session, connection = smtp_session.session, smtp_session.connection
    session.messages += 1
    session.junk_commands = session.junk_commands_uncharged = 0
    if session.messages == 1:
        limits = smtp_session.context.limits
        connection.session_deadline += limits.session_seconds - limits.mailless_session_seconds
    discarded = submission.transaction.all_discarded
    smtp_session.context.metrics.messages["discarded" if discarded else "accepted"] += 1
    smtp_session.context.mail_log.stored(submission, queue_id, answered=not connection.lost)
    reply = MESSAGE_ACCEPTED.with_text(f"Message accepted as {queue_id}")
    if queue_id.isascii() and queue_id.isalnum() and len(queue_id) <= _QUEUE_ID_OCTETS:
        # The text is our own, so it needs no sanitising. It is used only once, so it is not cached with the rendered
        # replies.
        smtp_session.context.metrics.replies[reply.code] += 1
        connection.send(f"{reply.code} {reply.enhanced} {reply.text}\r\n".encode("ascii"))
    else:
        smtp_session.reply(reply)
