"""bench.decisions_in_turns reads the output of bench.policy_decisions and compares the figures."""

from __future__ import annotations

from bench import decisions_in_turns
from bench.policy_decisions import Figure

LATENCIES = [0.001] * 200


def test_lines_of_the_bench_are_read() -> None:
    text = (
        "counters in memory\n"
        f"  {'one stream':>10}, {100:>5,} in flight {Figure(30_000, 2.0, 1.5, LATENCIES)}\n"
        "content checks absent: 8.0 us CPU each\n"
    )
    assert list(decisions_in_turns.figures(text)) == [
        ("counters in memory: one stream, 100 in flight", 15_000.0),
        ("content checks absent", 125_000.0),
    ]


def test_medians_and_the_range_of_ratios_are_shown_for_figures_of_both_versions() -> None:
    own = {"a": [110.0, 100.0, 120.0], "only ours": [1.0]}
    other = {"a": [100.0, 100.0, 100.0], "only theirs": [1.0]}
    (line,) = decisions_in_turns.compared(own, other)
    assert line.split() == ["a", "110", "100", "1.10", "(1.00", "to", "1.20)"]
