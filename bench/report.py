"""Writes the results of a comparison as Markdown and SVG: medians, ranges, and ratios to the best other mail server of
the same run.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.latency import Latency
from bench.load import Measured

OURS = "Posthouse"
_MEGABYTE = 1024 * 1024
_METHOD = """\
- Every gateway accepts, has the message safely on disk (fsync) before its 250, and relays it; medians of {runs} runs,
  the gateways alternated in each. smtp-source sends the plain workloads, bench/generator.py the others; both give one
  command at a time in 20 sessions. smtp-sink receives. A run counts only when each sink got as many messages as were
  sent, no fewer and no more.
- SPF and DNSBL are looked up by Posthouse alone, its peers relay without; Postfix relays without AUTH as well; with
  PostgreSQL the peers keep their queue files.
- Absolute figures move with the machine; the ratio is of medians, in brackets its range over the single runs."""
_COLUMNS = (
    "workload",
    "gateway",
    "accepted/s",
    "delivered/s (least to greatest)",
    "to the best peer",
    "CPU ms a message",
    "of it",
    "load, sink",
)


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one gateway with one workload, in the order of the runs."""

    gateway: str
    runs: tuple[Measured, ...]

    @property
    def delivered(self) -> float:
        return statistics.median(run.delivered_rate for run in self.runs)

    @property
    def accepted(self) -> float:
        return statistics.median(run.accepted_rate for run in self.runs)

    def cpu_ms(self) -> dict[str, float]:
        """Returns the CPU milliseconds for one message, by process, over all runs."""
        messages = sum(run.messages for run in self.runs)
        names = dict.fromkeys(name for run in self.runs for name in run.cpu_seconds)
        spent = {name: sum(run.cpu_seconds.get(name, 0.0) for run in self.runs) for name in names}
        return {name: 1000 * seconds / messages for name, seconds in spent.items()}

    def load_cpu_ms(self) -> tuple[float, float]:
        """Returns the CPU milliseconds for one message of the load generator and the sinks."""
        messages = sum(run.messages for run in self.runs)
        source = sum(run.source_cpu_seconds for run in self.runs)
        return 1000 * source / messages, 1000 * sum(run.sink_cpu_seconds for run in self.runs) / messages


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of each process in octets: before any mail, the highest value under load, and after the load."""

    idle: Mapping[str, int]
    highest: Mapping[str, int]
    after: Mapping[str, int]


@dataclass(slots=True)
class Findings:
    """All results of a run of the benchmark."""

    runs: int
    throughput: dict[str, list[Series]] = field(default_factory=dict)
    latency: dict[str, Latency] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    # Workloads that were not compared, with the reasons.
    refused: list[str] = field(default_factory=list)


def machine() -> str:
    """Describes the machine of the measurements in one line."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f} at the end"
    )


def markdown(findings: Findings) -> str:
    """Returns the whole report."""
    parts = [
        "# Side by side",
        "",
        f"- Machine: {machine()}",
        *(f"- {name}: {description}" for name, description in findings.descriptions.items()),
        _METHOD.format(runs=findings.runs),
        "",
        "## Throughput",
        "",
        throughput_table(findings.throughput),
    ]
    if findings.latency:
        parts += ["", "## Latency at low load: one session, 4 KB, milliseconds", "", latency_table(findings.latency)]
    if findings.memory:
        parts += ["", "## Memory: proportional set size, MB", "", memory_table(findings.memory)]
    if findings.refused:
        parts += ["", "## Not compared", "", *(f"- {reason}" for reason in findings.refused)]
    return "\n".join(parts) + "\n"


def throughput_table(results: Mapping[str, Sequence[Series]]) -> str:
    """Returns a table with a row for each workload and gateway."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for workload, all_series in results.items():
        for series in all_series:
            rates = sorted(run.delivered_rate for run in series.runs)
            cpu = series.cpu_ms()
            parts = ", ".join(f"{name} {value:.2f}" for name, value in cpu.items()) if len(cpu) > 1 else ""
            source, sink = series.load_cpu_ms()
            lines.append(
                f"| {workload} | {series.gateway} | {series.accepted:,.0f} | {series.delivered:,.0f} "
                f"({rates[0]:,.0f} to {rates[-1]:,.0f}) | {_ratio(series, all_series)} | {sum(cpu.values()):.2f} "
                f"| {parts} | {source:.2f}, {sink:.2f} |"
            )
    return "\n".join(lines)


def _ratio(ours: Series, all_series: Sequence[Series]) -> str:
    """Returns the rate of Posthouse divided by that of the best other gateway, and the range of this ratio over the
    single runs. The result is empty for the series of another gateway, and when there is no other gateway.
    """
    peers = [series for series in all_series if series.gateway != OURS]
    if ours.gateway != OURS or not peers:
        return ""
    best = max(peer.delivered for peer in peers)
    single = [
        run.delivered_rate / max(peer.runs[number].delivered_rate for peer in peers)
        for number, run in enumerate(ours.runs)
    ]
    return f"{ours.delivered / best:.2f} ({min(single):.2f} to {max(single):.2f})"


def latency_table(results: Mapping[str, Latency]) -> str:
    lines = [
        "| gateway | dot to 250: median | 99 % | 250 to the next hop: median | 99 % |",
        "|---|---|---|---|---|",
    ]
    for name, latency in results.items():
        cells = [
            f"{1000 * value:.2f}"
            for times in (latency.accepting, latency.passing_on)
            for value in (statistics.median(times), statistics.quantiles(times, n=100)[98])
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def memory_table(results: Mapping[str, Memory]) -> str:
    lines = ["| gateway | process | idle | under load, at most | after |", "|---|---|---|---|---|"]
    for gateway, memory in results.items():
        for name, idle in memory.idle.items():
            octets = (idle, memory.highest.get(name, 0), memory.after.get(name, 0))
            cells = (f"{value / _MEGABYTE:.0f}" for value in octets)
            lines.append(f"| {gateway} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: Mapping[str, Sequence[Series]], path: Path) -> None:
    """Writes an SVG file with bars for the delivered messages per second, and with the range of the runs."""
    import matplotlib as mpl

    mpl.use("svg")
    # Without a fixed salt, the file would differ for the same figures.
    mpl.rcParams["svg.hashsalt"] = "posthouse"
    from matplotlib import pyplot

    names = list(dict.fromkeys(series.gateway for all_series in results.values() for series in all_series))
    figure, axes = pyplot.subplots(figsize=(10, 0.8 + 0.8 * len(results)))
    height = 0.8 / max(len(names), 1)
    for position, name in enumerate(names):
        by_workload = [
            (index, series)
            for index, all_series in enumerate(results.values())
            for series in all_series
            if series.gateway == name
        ]
        medians = [series.delivered for _, series in by_workload]
        below = [series.delivered - min(run.delivered_rate for run in series.runs) for _, series in by_workload]
        above = [max(run.delivered_rate for run in series.runs) - series.delivered for _, series in by_workload]
        places = [index + position * height for index, _ in by_workload]
        axes.barh(places, medians, height, label=name, xerr=(below, above), error_kw={"elinewidth": 0.8})
    axes.set_yticks([index + height * (len(names) - 1) / 2 for index in range(len(results))], list(results))
    axes.invert_yaxis()
    axes.set_xlabel("delivered messages a second (median; least and greatest of the runs)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
