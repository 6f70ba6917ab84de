"""`make bench`: Posthouse and its peers do the same job in turn; prints medians and ratios."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.gateways import Gateway, Postfix, Posthouse, free_ports, postfix_is_here
from bench.load import LoadError, Measured, Workload, run

WORKLOADS = (
    Workload("4 KB, one a connection", 4096, 4000),
    Workload("4 KB, many a connection", 4096, 6000, keep_connection=True),
    Workload("50 KB, one a connection", 50_000, 2500),
    Workload("50 KB, many a connection", 50_000, 3000, keep_connection=True),
)
RESULTS = Path(__file__).parent / "results"


async def compare(workloads: Sequence[Workload], runs: int, gateways: Sequence[type[Gateway]]) -> str:
    """Alternates the gateways run by run and returns the report."""
    results: dict[str, list[report.Series]] = {}
    descriptions: dict[str, str] = {}
    for workload in workloads:
        found: dict[str, list[Measured]] = {}
        cpu: dict[str, dict[str, float]] = {}
        for number in range(runs):
            for kind in gateways:
                gateway = kind()
                descriptions[gateway.name] = gateway.description
                measured, used = await _one(gateway, workload)
                found.setdefault(gateway.name, []).append(measured)
                totals = cpu.setdefault(gateway.name, {})
                for name, seconds in used.items():
                    totals[name] = totals.get(name, 0.0) + seconds
                print(
                    f"{workload.name}, run {number + 1} of {runs}, {gateway.name}: "
                    f"{measured.accepted_rate:,.0f} accepted/s, {measured.delivered_rate:,.0f} delivered/s",
                    flush=True,
                )
        results[workload.name] = [
            report.Series(
                name,
                tuple(measured),
                {part: 1000 * seconds / (runs * workload.messages) for part, seconds in cpu[name].items()},
            )
            for name, measured in found.items()
        ]
    RESULTS.mkdir(exist_ok=True)
    report.plot(results, RESULTS / "throughput.svg")
    text = "\n".join(
        (
            f"Machine: {report.machine()}",
            *(f"{name}: {description}" for name, description in descriptions.items()),
            f"smtp-source with 20 sessions, smtp-sink; medians of {runs} alternated runs, everything fsynced.",
            "",
            report.table(results),
        )
    )
    (RESULTS / "throughput.md").write_text(text + "\n")
    return text


async def _one(gateway: Gateway, workload: Workload) -> tuple[Measured, dict[str, float]]:
    (sink_port,) = free_ports(1)
    await gateway.start(sink_port)
    try:
        # A few messages first: connections, caches and code are warm in every contender.
        warm = Workload("warm-up", workload.size, 100, workload.sessions, workload.keep_connection)
        await run(warm, gateway.port, sink_port)
        before = gateway.cpu_seconds()
        measured = await run(workload, gateway.port, sink_port)
        used = {name: seconds - before.get(name, 0.0) for name, seconds in gateway.cpu_seconds().items()}
    finally:
        await gateway.stop()
    return measured, used


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="alternated runs of each gateway (3)")
    parser.add_argument("--only", default="", help="run the workloads whose name holds this text")
    parser.add_argument("--no-peers", action="store_true", help="Posthouse alone")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of messages")
    arguments = parser.parse_args()
    chosen = [
        Workload(w.name, w.size, max(100, int(w.messages * arguments.scale)), w.sessions, w.keep_connection)
        for w in WORKLOADS
        if arguments.only in w.name
    ]
    gateways: list[type[Gateway]] = [Posthouse]
    if not arguments.no_peers and postfix_is_here():
        gateways.append(Postfix)
    try:
        print("\n" + asyncio.run(compare(chosen, arguments.runs, gateways)))
    except LoadError as error:
        raise SystemExit(f"not comparable: {error}") from error


if __name__ == "__main__":
    main()
