"""The two log lines of the hot path, `submission_stored` and `verdict`: rendered by hand.

structlog takes a tenth of a millisecond for such a line, as long as ingress takes for the rest of a short message.
"""

from __future__ import annotations

import time

from libs.runtime.logging import FrequentEvent, quoted
from services.ingress.session import Session, Stage
from services.ingress.submission import Submission
from services.ingress.verdict import Verdict


class MailLog:
    """To be made when the log is configured."""

    def __init__(self) -> None:
        self._stored = FrequentEvent("ingress", "submission_stored")
        self._verdict = FrequentEvent("ingress", "verdict")

    def stored(self, submission: Submission, queue_id: str, *, answered: bool) -> None:
        """A message is relay's now. Not `answered`: the client left before, and may send it again (C34)."""
        if not self._stored.enabled:
            return
        session, transaction = submission.session, submission.transaction
        self._stored.tell(
            _now(),
            f'"session_id": "{session.id}", "submission_id": "{submission.id}", '
            f'"queue_id": {quoted(queue_id)}, "client": "{session.peer.client_address}", '
            f'"sender": {quoted(transaction.sender.decode())}, "recipients": {len(transaction.recipients)}, '
            f'"size": {submission.size}, "answered": {"true" if answered else "false"}',
        )

    def rejected(self, session: Session, stage: Stage, verdict: Verdict) -> None:
        """policy said no."""
        if not self._verdict.enabled:
            return
        code = verdict.reply.code if verdict.reply is not None else 0
        self._verdict.tell(
            _now(),
            f'"session_id": "{session.id}", "client": "{session.peer.client_address}", '
            f'"stage": "{stage.name}", "code": {code}, "reason_id": {quoted(verdict.reason_id)}, '
            f'"rule_id": {quoted(verdict.rule_id)}',
        )


def _now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
