"""The table of a comparison: medians, and the ratio to the best peer in the same run."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import Measured

OURS = "Posthouse"


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one gateway at one workload."""

    gateway: str
    runs: tuple[Measured, ...]
    # CPU milliseconds a message, by process.
    cpu_ms: Mapping[str, float]

    @property
    def delivered(self) -> float:
        return statistics.median(run.delivered_rate for run in self.runs)

    @property
    def accepted(self) -> float:
        return statistics.median(run.accepted_rate for run in self.runs)


def machine() -> str:
    """One line about what the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, Python {platform.python_version()}"


def table(results: Mapping[str, Sequence[Series]]) -> str:
    """A Markdown table, one row a workload and gateway."""
    lines = [
        "| workload | gateway | accepted/s | delivered/s (min to max) | ratio to the best peer | CPU ms a message |",
        "|---|---|---|---|---|---|",
    ]
    for workload, series in results.items():
        peers = [one.delivered for one in series if one.gateway != OURS]
        best = max(peers, default=0.0)
        for one in series:
            rates = sorted(run.delivered_rate for run in one.runs)
            ratio = f"{one.delivered / best:.2f}" if best and one.gateway == OURS else ""
            cpu = ", ".join(f"{name} {value:.2f}" for name, value in one.cpu_ms.items())
            lines.append(
                f"| {workload} | {one.gateway} | {one.accepted:,.0f} | {one.delivered:,.0f} "
                f"({rates[0]:,.0f} to {rates[-1]:,.0f}) | {ratio} | {cpu} |"
            )
    return "\n".join(lines)


def plot(results: Mapping[str, Sequence[Series]], path: Path) -> None:
    """Bars of delivered messages a second, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(one.gateway for series in results.values() for one in series))
    figure, axes = pyplot.subplots(figsize=(9, 4.5))
    width = 0.8 / max(len(names), 1)
    for position, name in enumerate(names):
        found = [next((one.delivered for one in series if one.gateway == name), 0.0) for series in results.values()]
        axes.bar([index + position * width for index in range(len(results))], found, width, label=name)
    axes.set_xticks([index + width * (len(names) - 1) / 2 for index in range(len(results))], list(results))
    axes.set_ylabel("delivered messages a second")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
