"""A span for each decision that was asked for with a traceparent, while traces are on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from libs.runtime.tracing import Span, Tracer
from services.policy import wire
from services.policy.engine import Answer, StreamSessions
from services.policy.rules.model import Action, Stage

_ACTIONS = {action.value: action.name.lower() for action in Action}
_STAGES = {stage.value: stage.name.lower() for stage in Stage}

Decide = Callable[[wire.Request, Answer, StreamSessions | None], Coroutine[None, None, None] | None]


def traced(tracer: Tracer, decide: Decide) -> Decide:
    """The same as `decide`, and a span from the question to its answer."""

    def decide_traced(
        request: wire.Request, answer: Answer, sessions: StreamSessions | None
    ) -> Coroutine[None, None, None] | None:
        if not request.traceparent:
            return decide(request, answer, sessions)
        span = tracer.start(
            "policy.decide",
            request.traceparent,
            kind="server",
            session_id=request.session.id,
            stage=_STAGES.get(int(request.stage), "unknown"),
        )
        made: list[wire.Message] = []

        def keep() -> wire.Message:
            made.append(answer())
            return made[-1]

        waiting = decide(request, keep, sessions)
        if waiting is None:
            _end(span, made)
            return None
        return _awaited(waiting, span, made)

    return decide_traced


async def _awaited(waiting: Coroutine[None, None, None], span: Span, made: list[wire.Message]) -> None:
    try:
        await waiting
    finally:
        _end(span, made)


def _end(span: Span, made: list[wire.Message]) -> None:
    if not made:
        span.end(error="not answered")
        return
    verdict = made[-1]
    span.set(
        action=_ACTIONS.get(int(verdict.action), "unknown"),
        reason_id=verdict.reason_id,
        rule_id=verdict.rule_id,
        revision=verdict.snapshot_revision,
    )
    span.end()
