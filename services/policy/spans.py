"""Makes a span for each decision with a traceparent, while tracing is on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence

from libs.runtime.tracing import Span, Tracer
from services.policy import wire
from services.policy.engine import Answer
from services.policy.rules.model import Action, Stage
from services.policy.state.store import FrameStamp

_ACTIONS = {action.value: action.name.lower() for action in Action}
_STAGES = {stage.value: stage.name.lower() for stage in Stage}

Decide = Callable[[wire.Request, Answer, FrameStamp, float], Coroutine[None, None, None] | None]


def traced(tracer: Tracer, decide: Decide) -> Decide:
    """Returns a function that calls `decide`. For a request with a traceparent, it makes a span that lasts until the
    answer.
    """

    def decide_traced(
        request: wire.Request, answer: Answer, stamp: FrameStamp, now: float
    ) -> Coroutine[None, None, None] | None:
        traceparent = wire.traceparent(request)
        if not traceparent:
            return decide(request, answer, stamp, now)
        span = tracer.start(
            "policy.decide",
            traceparent,
            kind="server",
            session_id=wire.session_id(request),
            stage=_STAGES.get(wire.stage_of(request), "unknown"),
        )
        answers: list[Sequence[bytes]] = []

        def keep(given: Sequence[bytes]) -> None:
            answers.append(given)
            answer(given)

        waiting = decide(request, keep, stamp, now)
        if waiting is None:
            _end(span, answers)
            return None
        return _awaited(waiting, span, answers)

    return decide_traced


async def _awaited(waiting: Coroutine[None, None, None], span: Span, answers: list[Sequence[bytes]]) -> None:
    try:
        await waiting
    finally:
        _end(span, answers)


def _end(span: Span, answers: list[Sequence[bytes]]) -> None:
    if not answers:
        span.end(error="not answered")
        return
    verdict = wire.answered(answers[-1])
    span.set(
        action=_ACTIONS.get(int(verdict.action), "unknown"),
        reason_id=verdict.reason_id,
        rule_id=verdict.rule_id,
        revision=verdict.snapshot_revision,
    )
    span.end()
