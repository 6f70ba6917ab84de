"""Random dialogues: the segments of TCP never change the outcome, and the client never sees an exception."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.grammar import cuts, streams
from tests.fuzz.session import run

BOUNDED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Returns the stream in segments. Each cut is at the given distance from the cut before."""
    parts, position = [], 0
    for place in places:
        parts.append(stream[position : position + place])
        position += place
    parts.append(stream[position:])
    return [part for part in parts if part]


@BOUNDED
@given(stream=streams, places=cuts, normalise=st.booleans())
def test_the_segments_of_a_stream_do_not_change_the_outcome(stream: bytes, places: list[int], normalise: bool) -> None:
    whole = run([stream], normalise=normalise)
    assert run(cut(stream, places), normalise=normalise) == whole


@BOUNDED
@given(stream=streams)
def test_segments_of_single_octets_do_not_change_the_outcome(stream: bytes) -> None:
    short = stream[:800]
    assert run(short[place : place + 1] for place in range(len(short))) == run([short])


@BOUNDED
@given(stream=st.binary(max_size=400))
def test_random_octets_are_answered_and_never_break_the_session(stream: bytes) -> None:
    outcome = run([stream])
    assert outcome.replies[0].startswith(b"220 ")
    assert not outcome.stored


@BOUNDED
@given(stream=streams)
def test_stored_messages_have_no_bare_cr_or_lf_and_only_accepted_recipients(stream: bytes) -> None:
    for sender, *recipients, content in run([stream]).stored:
        assert content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n")
        assert all(recipient and not recipient.startswith(b"bad") for recipient in recipients)
        assert b"\0" not in sender
