"""One SMTP session, as commands use it: its facts, policy's decisions, limits, replies, and its end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from aiosmtpd.smtp import SMTP

from libs.smtp.reply import (
    LOGIN_LAPSED,
    TOO_MANY_ERRORS,
    TOO_MANY_JUNK_COMMANDS,
    TOO_MANY_RECIPIENTS,
    TOO_MANY_REFUSED_RECIPIENTS,
    TRY_AGAIN,
    UNAUTHORISED_PIPELINING,
    Reply,
)
from services.ingress import spans
from services.ingress.clients.policy import PolicyError
from services.ingress.connection import Connection
from services.ingress.content import Chunks
from services.ingress.content_facts import ContentFacts
from services.ingress.handler.server import Caller
from services.ingress.limits import refusal_delay
from services.ingress.session import (
    Credentials,
    Listener,
    PastVerdict,
    Peer,
    SessionFacts,
    Stage,
    Transaction,
    Violation,
    remember,
)
from services.ingress.submission import Refusal
from services.ingress.verdict import Action, Profile, Verdict
from services.ingress.worker_context import WorkerContext

NO_VERDICT = Verdict(Action.REJECT, TRY_AGAIN, reason_id="policy_unavailable")
# The recipients of the transaction, and other facts, were accepted for a login that is no longer valid, so the whole
# transaction is rejected.
_LOGIN_LAPSED = Verdict(Action.REJECT, LOGIN_LAPSED, close=True, reason_id="login_lapsed")


_CLOSING = 421


def handler_refused(reply: Reply) -> Verdict:
    """Returns a refusal by the site's handler, or its failure, as a verdict for history and log."""
    return Verdict(Action.REJECT, reply, reason_id="handler_failed" if reply is TRY_AGAIN else "handler_refused")


class SmtpSession:
    """One session. `session` has its facts. `transaction` exists from MAIL to the end of the content."""

    __slots__ = (
        "chunks",
        "connection",
        "context",
        "counted",
        "end_reason",
        "handlers_server",
        "proxied",
        "reply",
        "session",
        "transaction",
    )

    def __init__(
        self, connection: Connection, context: WorkerContext, listener: Listener, peer: Peer, *, proxied: bool = False
    ) -> None:
        """`proxied` means that the client came through a trusted proxy, whose header was read."""
        self.connection = connection
        self.reply: Callable[[Reply], None] = connection.reply
        # The `server` that hooks of the site's handler get.
        self.handlers_server: SMTP = connection
        self.proxied = proxied
        self.context = context
        self.session = SessionFacts(os.urandom(16).hex(), peer, listener, time.time_ns())
        self.transaction: Transaction | None = None
        # The content that arrives by BDAT, from the first chunk on.
        self.chunks: Chunks | None = None
        # Whether policy was asked about the connection, and may count it.
        self.counted = False
        # The reason why the session ends. It is empty while the session continues.
        self.end_reason = ""

    @property
    def profile(self) -> Profile:
        """Returns the session profile, which exists from the greeting on."""
        profile = self.session.profile
        assert profile is not None  # noqa: S101
        return profile

    @property
    def state(self) -> str:
        """Returns the state of the session for the metrics."""
        if self.session.profile is None:
            return "greeting"
        if self.transaction is not None:
            return "transaction"
        return "command"

    def error(self, reply: Reply) -> None:
        """Answers a wrong command. Too many of them end the session."""
        self.session.errors += 1
        if self.session.errors > self.context.limits.max_errors:
            self.end("too_many_errors", TOO_MANY_ERRORS)
        else:
            self.reply(reply)

    def end(self, reason: str, reply: Reply) -> None:
        """Answers, and then ends the session."""
        self.reply(reply)
        self.end_reason = self.end_reason or reason

    def leave(self, reason: str) -> None:
        """Ends the session, whose last reply was already given."""
        self.end_reason = self.end_reason or reason

    @property
    def ending(self) -> bool:
        return bool(self.end_reason)

    def clear_transaction(self) -> None:
        """Clears the transaction, after every end of a message, and at RSET, EHLO and STARTTLS (C15, C16)."""
        self.transaction = None
        if spans.current is not None:
            spans.current.message_ended(self.session.id)
        if self.chunks is not None:
            self.chunks.content.close()
            self.chunks = None

    def count_junk(self) -> None:
        self.session.junk_commands += 1
        self.session.junk_commands_uncharged += 1

    async def junk(self) -> bool:
        """Counts a command outside the mail transaction. Returns True when this ends the session."""
        self.count_junk()
        limit = self.profile.max_junk_commands
        if limit and self.session.junk_commands > limit and Stage.JUNK_COMMAND in self.profile.ask_stages:
            verdict = await self.decide(Stage.JUNK_COMMAND)
            if verdict.action is Action.REJECT:
                self.end("junk_commands", verdict.reply or TOO_MANY_JUNK_COMMANDS)
        return self.ending

    async def refuse_recipient(self, verdict: Verdict, reply: Reply, address: bytes) -> None:
        """Answers a recipient that policy refused. The answers become slower during the session, until the session
        ends.

        A refusal because policy gave no verdict is not counted, because it is not the client's fault. A recipient over
        the limit of the message is not counted either, because the end of the session would prevent the delivery to the
        other recipients. For the same reason, temporary refusals slow the session down but do not end it.
        """
        self.report(verdict, Stage.RCPT, (address,))
        session, limit = self.session, self.profile.max_refused_recipients
        if limit and verdict is not NO_VERDICT and not verdict.refuses_message and reply != TOO_MANY_RECIPIENTS:
            session.refused_recipients += 1
            session.permanently_refused_recipients += reply.is_permanent
            if session.permanently_refused_recipients > limit:
                self.end("refused_recipients", TOO_MANY_REFUSED_RECIPIENTS)
                return
            delay = refusal_delay(session.refused_recipients)
            if delay and not self.end_reason:
                self.connection.flush()
                await asyncio.sleep(delay)
        self.reply(reply)
        if reply.code == _CLOSING:
            self.leave("refused")

    def refuse_by_handler(
        self, reply: Reply, stage: Stage, recipients: tuple[bytes, ...], *, sender: bytes = b""
    ) -> None:
        """Answers and records a refusal by the site's handler."""
        verdict = handler_refused(reply)
        self.context.mail_log.rejected(self.session, stage, verdict)
        self.report(verdict, stage, recipients, sender=sender)
        self.reply(reply)
        if reply.code == _CLOSING:
            self.leave("handler")

    def caller(self) -> Caller:
        """Returns the connection for which hooks are called."""
        return Caller(self.handlers_server, self.session, self.profile, self.context.limits, proxied=self.proxied)

    async def violation(self, violation: Violation) -> None:
        """Notes that the client sent data before a reply that it had to wait for. Policy is asked only at the first
        time in a session.
        """
        if self.session.violation is not Violation.NONE:
            return
        self.session.violation = violation
        self.context.metrics.commands[f"pipelining_{violation.name.lower()}"] += 1
        if Stage.PIPELINING not in self.profile.ask_stages:
            return
        verdict = await self.decide(Stage.PIPELINING)
        if verdict.action is Action.REJECT:
            self.report(verdict, Stage.PIPELINING, ())
            self.end("pipelining", verdict.reply or UNAUTHORISED_PIPELINING)

    async def decide(
        self,
        stage: Stage,
        *,
        recipient: bytes = b"",
        credentials: Credentials | None = None,
        content_facts: ContentFacts | None = None,
        transaction: Transaction | None = None,
    ) -> Verdict:
        """Returns policy's verdict, after its delay. When there is no verdict, this method returns a rejection with 451
        4.3.0. No other code does this.
        """
        session = self.session
        try:
            verdict = await self.context.policy.decide(
                stage,
                session,
                transaction or self.transaction,
                recipient=recipient,
                credentials=credentials,
                content_facts=content_facts,
            )
        except PolicyError as error:
            self.context.metrics.policy_failures[stage.name] += 1
            self.context.policy_outage.failed(session_id=session.id, stage=stage.name, reason=str(error))
            return NO_VERDICT
        if self.context.policy_outage.lasts:
            self.context.policy_outage.succeeded()
        if verdict.login_lapsed:
            verdict = _LOGIN_LAPSED
        if verdict.profile is not None:
            session.profile = verdict.profile
        if verdict.tells_something:
            about = transaction or self.transaction
            remember((about or session).verdicts, PastVerdict(time.time_ns(), stage, verdict))
        if verdict.delay:
            self.connection.flush()
            await asyncio.sleep(verdict.delay)
        if verdict.action is Action.REJECT and not verdict.verify_recipient:
            self.context.mail_log.rejected(session, stage, verdict)
            if verdict.close:
                self.end_reason = "closed_by_policy"
        return verdict

    def report(
        self,
        verdict: Verdict,
        stage: Stage,
        recipients: tuple[bytes, ...],
        *,
        sender: bytes = b"",
        message_id: bytes = b"",
    ) -> None:
        """Records a rejection in relay's history."""
        if verdict.reply is not None:
            self.record(
                verdict.reply,
                stage,
                recipients,
                verdict.reason_id,
                verdict.rule_id,
                sender=sender,
                message_id=message_id,
                verdict=verdict,
            )

    def record(
        self,
        reply: Reply,
        stage: Stage,
        recipients: tuple[bytes, ...],
        reason_id: str,
        rule_id: str,
        *,
        sender: bytes = b"",
        message_id: bytes = b"",
        verdict: Verdict | None = None,
    ) -> None:
        """Records a refusal in relay's history. `sender` is given when no transaction exists. `verdict` is None when
        ingress itself refuses.
        """
        session, transaction, now = self.session, self.transaction, time.time_ns()
        verdicts = [past for past in session.verdicts if past.verdict is not verdict]
        if verdict is not None:
            verdicts.append(PastVerdict(now, stage, verdict))
        self.context.relay.report(
            Refusal(
                session_id=session.id,
                client_address=session.peer.client_address,
                helo_name=session.helo_sent,
                account=session.account,
                sender=transaction.sender if transaction is not None else sender,
                recipients=recipients,
                reply=reply,
                reason_id=reason_id,
                rule_id=rule_id,
                stage=stage.name,
                refused_at=now,
                listener=session.listener.label,
                tls=session.tls is not None,
                message_id=message_id,
                verdicts=tuple(verdicts),
                check_results=transaction.check_results if transaction is not None else (),
            )
        )
