"""The spans of a worker's sessions and messages, while tracing is on. Each session and each message is a trace."""

from __future__ import annotations

from libs.runtime import tracing
from libs.runtime.tracing import Span, Tracer
from services.ingress.session import SessionFacts


class Spans:
    """The spans by session id. The span of a message begins at MAIL, has a link to the session's span, and ends with
    the message.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._sessions: dict[str, Span] = {}
        self._messages: dict[str, Span] = {}

    def session_began(self, session: SessionFacts) -> None:
        self._sessions[session.id] = self._tracer.start(
            "ingress.session", kind="server", session_id=session.id, listener=session.listener.label
        )

    def session_ended(self, session: SessionFacts, reason: str) -> None:
        self.message_ended(session.id)
        span = self._sessions.pop(session.id, None)
        if span is not None:
            span.set(reason=reason, messages=session.messages, tls=session.tls is not None)
            span.end()

    def message_began(self, session: SessionFacts) -> None:
        self.message_ended(session.id)
        of_session = self._sessions.get(session.id)
        self._messages[session.id] = self._tracer.start(
            "ingress.message",
            kind="server",
            link=of_session.traceparent if of_session is not None else "",
            session_id=session.id,
            listener=session.listener.label,
        )

    def stored(self, session_id: str, queue_id: str, octets: int) -> None:
        """Adds the queue id and the size to the span of a message that relay has stored."""
        span = self._messages.get(session_id)
        if span is not None:
            span.set(queue_id=queue_id, size=octets)

    def message_ended(self, session_id: str) -> None:
        span = self._messages.pop(session_id, None)
        if span is not None:
            span.end()

    def traceparent(self, session_id: str) -> str:
        """Returns the trace context of the session's message, or of the session while there is no message."""
        span = self._messages.get(session_id) or self._sessions.get(session_id)
        return span.traceparent if span is not None else ""


# Each process has one object of this class, just as it has one tracer. It is None while tracing is off.
current: Spans | None = None


def configure() -> None:
    """Begins to make spans if tracing is on. Raises StartupError."""
    global current  # noqa: PLW0603 - as above
    tracing.configure("ingress")
    current = Spans(tracing.tracer) if tracing.tracer is not None else None
