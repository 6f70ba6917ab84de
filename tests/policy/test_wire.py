"""Answers that are encoded from prepared parts equal the messages that protobuf encodes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from posthouse.policy.v1 import policy_pb2

from libs.smtp.reply import RELAY_DENIED
from services.policy import wire
from services.policy.rules.evaluate import verdict_of
from services.policy.rules.model import RuleMatch, Verdict

BODIES = {
    "accept": wire.body(Verdict(), 7),
    "long": wire.body(verdict_of("relay_denied", RuleMatch(RELAY_DENIED, rule_id="r" * 300)), 2**40),
    "longest": wire.body(verdict_of("relay_denied", RuleMatch(RELAY_DENIED, rule_id="r" * 20_000)), 1),
}


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.sampled_from(sorted(BODIES))), max_size=5))
@example([(number, "accept") for number in (0, 127, 128, 16_383, 16_384, 2**21 - 1, 2**21, 2**64 - 1)])
def test_a_frame_made_of_parts_equals_the_frame_made_of_messages(answers: list[tuple[int, str]]) -> None:
    made = policy_pb2.VerdictFrame.FromString(
        wire.frame(part for number, name in answers for part in wire.answer(_request(number), BODIES[name]))
    )
    wanted = policy_pb2.VerdictFrame()
    for number, name in answers:
        wanted.verdicts.append(policy_pb2.Verdict.FromString(BODIES[name]))
        wanted.verdicts[-1].request_id = number
    assert made == wanted


def _request(number: int) -> wire.Request:
    return wire.Request(policy_pb2.DecideRequest(request_id=number))
