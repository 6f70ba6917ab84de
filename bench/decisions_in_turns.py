"""Measures the decisions in a second of two working trees of Posthouse in turns, so that other load affects both.

    python -m bench.decisions_in_turns OTHER [--rounds 5] [--seconds 3] [--bare]

OTHER is the folder of another working tree with its own .venv, usually of an older commit:

    git worktree add ../older COMMIT && make -C ../older .venv/.installed

Each round runs `bench.policy_decisions` of each tree once; the tree that begins changes with every round. The figures
are medians over the rounds; a ratio above 1 says that this tree is faster. With --bare the figures come from the CPU
time of a decision without gRPC, which depends less on other load on the machine. Only trees whose bench prints the same
lines can be compared.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.report import machine

OWN = Path(__file__).parents[1]
# `one stream,   100 in flight    31,000 /s ...` and `content checks absent: 7.2 us CPU each`.
_RATE = re.compile(r"\s*(?P<name>.+? in flight)\s+(?P<rate>[\d,]+) /s")
_BARE = re.compile(r"(?P<name>content checks\s+\w+): (?P<microseconds>[\d.]+) us CPU each")

# The decisions per second of each workload, with one figure for each round.
Figures = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the folder of the other tree")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each workload runs")
    parser.add_argument("--bare", action="store_true", help="the CPU time of a decision without gRPC")
    options = parser.parse_args()
    command = ["--bare"] if options.bare else ["--no-redis", "--seconds", str(options.seconds)]
    trees = {OWN: defaultdict[str, list[float]](list), options.other.resolve(): defaultdict[str, list[float]](list)}
    for number in range(options.rounds):
        for tree in list(trees)[:: 1 if number % 2 == 0 else -1]:
            print(f"round {number + 1} of {options.rounds}: {tree.name}", flush=True)
            for name, rate in figures(_run(tree, command)):
                trees[tree][name].append(rate)
    print(f"\nMachine: {machine()}; medians of {options.rounds} rounds in turns, decisions a second")
    own, other = trees.values()
    for line in compared(own, other):
        print(line)


def _run(tree: Path, command: Sequence[str]) -> str:
    python = tree / ".venv" / "bin" / "python"
    return subprocess.run(
        (python, "-m", "bench.policy_decisions", *command), cwd=tree, check=True, capture_output=True, text=True
    ).stdout


def figures(text: str) -> Iterator[tuple[str, float]]:
    """Yields (workload, decisions per second) for each line of the benchmark's output that has a figure."""
    section = ""
    for line in text.splitlines():
        if rate := _RATE.match(line):
            yield f"{section}: {' '.join(rate['name'].split())}", float(rate["rate"].replace(",", ""))
        elif bare := _BARE.match(line):
            yield " ".join(bare["name"].split()), 1e6 / float(bare["microseconds"])
        else:
            section = line.strip()


def compared(own: Figures, other: Figures) -> Iterator[str]:
    """Yields a line for each workload that both trees have."""
    for name in own:
        if name in other:
            ours, theirs = statistics.median(own[name]), statistics.median(other[name])
            ratios = [one / another for one, another in zip(own[name], other[name], strict=False)]
            spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
            yield f"{name:<80} {ours:>9,.0f} {theirs:>9,.0f}   {ours / theirs:.2f} {spread}"


if __name__ == "__main__":
    main()
