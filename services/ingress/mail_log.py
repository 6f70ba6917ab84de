"""Writes two log events: `submission_stored` for each message that relay has stored, and `verdict` for rejections by
policy or by the site's handler.

The number of lines about rejections in a minute is limited, for each client's network and for all together. Rejections
beyond the limit are counted, and one line tells their number.
"""

from __future__ import annotations

import time

import structlog

from libs.runtime.logging import FrequentEvent, quoted
from libs.runtime.refusal_sample import RefusalSample
from libs.smtp.network import sharing_network
from services.ingress.session import SessionFacts, Stage
from services.ingress.submission import Submission
from services.ingress.verdict import Verdict

log = structlog.get_logger(__name__)


class MailLog:
    """Writes the two events. Create it after the log was configured."""

    def __init__(self) -> None:
        self._stored = FrequentEvent("ingress", "submission_stored")
        self._verdict = FrequentEvent("ingress", "verdict")
        self._refusals = RefusalSample()

    def stored(self, submission: Submission, queue_id: str, *, answered: bool) -> None:
        """Logs that relay has stored a message. If `answered` is False, the client disconnected before the reply, and
        may send the message again (C34).
        """
        if not self._stored.enabled:
            return
        now = self._turn()
        session, transaction = submission.session, submission.transaction
        self._stored.tell(
            now,
            f'"session_id": "{session.id}", "submission_id": "{submission.id}", '
            f'"queue_id": {quoted(queue_id)}, "client": "{session.peer.client_address}", '
            f'"sender": {quoted(transaction.sender.decode())}, "recipients": {len(transaction.recipients)}, '
            f'"size": {submission.size}, "answered": {"true" if answered else "false"}',
        )

    def rejected(self, session: SessionFacts, stage: Stage, verdict: Verdict) -> None:
        """Logs a rejection by policy or by the site's handler, unless there are too many of them."""
        if not self._verdict.enabled:
            return
        now = self._turn()
        if not self._refusals.has_line(sharing_network(session.peer.client_address)):
            return
        code = verdict.reply.code if verdict.reply is not None else 0
        self._verdict.tell(
            now,
            f'"session_id": "{session.id}", "client": "{session.peer.client_address}", '
            f'"stage": "{stage.name}", "code": {code}, "reason_id": {quoted(verdict.reason_id)}, '
            f'"rule_id": {quoted(verdict.rule_id)}',
        )

    def _turn(self) -> int:
        """Returns the time, in microseconds since 1970. At the end of a minute, logs how many lines were left out."""
        now = time.time_ns() // 1000
        unlogged = self._refusals.turn(now / 1_000_000)
        if unlogged is not None:
            log.warning(
                "refusals_not_logged",
                refusals=unlogged.refusals,
                networks=unlogged.networks,
                largest=unlogged.largest,
                refusals_of_largest=unlogged.refusals_of_largest,
            )
        return now
