"""When there are too many refusals, only a sample of them is logged."""

from __future__ import annotations

from libs.runtime.refusal_sample import LINES_IN_ALL, LINES_OF_CLIENT, RefusalSample, Unlogged

NOW = 1_800_000_000.0


def test_a_client_has_a_limit_of_lines_and_leaves_lines_for_others() -> None:
    sample = RefusalSample()
    assert sample.turn(NOW) is None
    assert [sample.has_line("a") for _ in range(LINES_OF_CLIENT)] == [True] * LINES_OF_CLIENT
    # Above the limit, only the 1st, 2nd, 4th, 8th … refusal is logged.
    assert [number for number in range(1, 1001) if sample.has_line("a")] == [1 << bit for bit in range(10)]
    assert [sample.has_line("b") for _ in range(LINES_OF_CLIENT)] == [True] * LINES_OF_CLIENT
    assert sample.turn(NOW + 1) is None
    assert sample.turn(NOW + 60) == Unlogged(990, 1, "a", 990)
    assert sample.has_line("a")
    assert sample.turn(NOW + 120) is None


def test_all_clients_together_have_a_limit_of_lines() -> None:
    sample = RefusalSample()
    sample.turn(NOW)
    written = sum(sample.has_line(f"client {number % 5000}") for number in range(100_000))
    assert LINES_IN_ALL <= written <= LINES_IN_ALL + 17
    unlogged = sample.turn(NOW + 60)
    assert unlogged is not None
    assert unlogged.refusals + written == 100_000
