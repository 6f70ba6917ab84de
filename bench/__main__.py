"""`make bench` lets Posthouse and other mail servers do the same work in turns. It prints medians and ratios, and
writes a report to bench/results/throughput.md and throughput.svg. A run lasts about 20 minutes, or about 3 with
`--quick`.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import trustme

from bench import haraka, latency, report
from bench.gateways import DNSBL_ZONE, Gateway, Postfix, Posthouse, Task, postfix_is_here
from bench.haraka import Haraka
from bench.load import LoadError, Measured, Sinks, check_counts, drain, run, send
from bench.processes import MemoryWatch, total_memory
from bench.workloads import DRAIN, FULL_DRAIN, FURTHER, MAIN, SENDER_DOMAIN, Workload
from tests.peers.dns import DnsServer

RESULTS = Path(__file__).parent / "results"
_WARM_UP = 100
_LATENCY_MESSAGES = 300
_MEMORY_MESSAGES = 3000


@contextlib.contextmanager
def _started(kind: type[Gateway], workload: Workload) -> Iterator[tuple[Gateway, Sinks]]:
    """Yields a gateway that is ready for the workload, and its next hops. Checks afterwards that each next hop has
    received every message.
    """
    with contextlib.ExitStack() as stack:
        sinks = stack.enter_context(Sinks(workload.recipient_domains))
        certificate = trustme.CA().issue_cert("gateway.bench.example") if workload.tls else None
        gateway = kind()
        task = Task(
            sinks.next_hops,
            certificate=certificate,
            auth=workload.auth,
            nameserver=stack.enter_context(_nameserver()) if workload.checks and gateway.checks else None,
            held=workload.drain,
            postgresql=workload.postgresql,
            environment=workload.environment,
        )
        stopped = False
        try:
            gateway.start(task)
            yield gateway, sinks
            gateway.stop()
            stopped = True
        finally:
            if not stopped:
                gateway.stop()
        check_counts(workload, workload.messages + (0 if workload.drain else _WARM_UP), sinks, gateway.name)


def _nameserver() -> DnsServer:
    """Starts a name server for which SPF passes after an include, and no client is on a block list."""
    server = DnsServer()
    server.add(SENDER_DOMAIN, "TXT", "v=spf1 include:_spf.source.example -all")
    server.add("_spf.source.example", "TXT", "v=spf1 ip4:198.51.100.0/24 ip4:100.200.0.0/16 -all")
    server.add(f"2.0.0.127.{DNSBL_ZONE}", "A", "127.0.0.2")
    return server


def measure(kind: type[Gateway], workload: Workload) -> Measured:
    """Runs the workload once on a gateway. Raises LoadError when the run cannot be compared with others."""
    with _started(kind, workload) as (gateway, sinks):
        if workload.drain:
            return drain(workload, gateway, sinks)
        # A few messages are sent first, so that every gateway already has connections and filled caches.
        send(workload, _WARM_UP, gateway)
        sinks.wait_for(_WARM_UP)
        return run(workload, gateway, sinks, _WARM_UP)


def memory(kind: type[Gateway], scale: float) -> report.Memory:
    """Measures the memory of all processes before, while and after messages of 50 KB are sent over open connections."""
    workload = Workload("memory", 50_000, _MEMORY_MESSAGES, keep_connection=True).scaled(scale)
    with _started(kind, workload) as (gateway, sinks):
        idle = total_memory(gateway.processes())
        with MemoryWatch(gateway) as watch:
            send(workload, workload.messages + _WARM_UP, gateway)
            sinks.wait_for(workload.messages + _WARM_UP)
        return report.Memory(idle, watch.highest, total_memory(gateway.processes()))


def compare(
    workloads: Sequence[Workload], runs: int, gateways: Sequence[type[Gateway]], findings: report.Findings
) -> None:
    """Runs each workload on all gateways in turns. A workload that cannot be compared is listed as not compared."""
    for workload in workloads:
        measured: dict[str, list[Measured]] = {kind.name: [] for kind in gateways}
        # A workload that empties a queue runs only once, because its queue must be filled first, which takes long.
        times = 1 if workload.drain else runs
        try:
            for number in range(times):
                for kind in gateways:
                    result = measure(kind, workload)
                    measured[kind.name].append(result)
                    print(
                        f"{workload.name}, run {number + 1} of {times}, {kind.name}: "
                        f"{result.accepted_rate:,.0f} accepted/s, {result.delivered_rate:,.0f} delivered/s",
                        flush=True,
                    )
        except LoadError as error:
            print(f"not compared: {workload.name}: {error}", flush=True)
            findings.refused.append(f"{workload.name}: {error}")
            continue
        findings.throughput[workload.name] = [report.Series(name, tuple(series)) for name, series in measured.items()]


def _gateways(arguments: argparse.Namespace) -> list[type[Gateway]]:
    chosen: list[type[Gateway]] = [Posthouse]
    peers = arguments.peers.split(",") if arguments.peers else []
    if "postfix" in peers:
        if postfix_is_here():
            chosen.append(Postfix)
        else:
            print("without Postfix: it is not installed, or this is not root on Linux")
    if "haraka" in peers and haraka.is_here():
        chosen.append(Haraka)
    return chosen


def _workloads(arguments: argparse.Namespace) -> list[Workload]:
    every = MAIN if arguments.quick else (*MAIN, *FURTHER, FULL_DRAIN if arguments.full else DRAIN)
    return [workload.scaled(arguments.scale) for workload in every if arguments.only in workload.name]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, help="alternated runs of each gateway (3; 1 with --quick)")
    parser.add_argument("--scale", type=float, help="multiplies the number of messages (1; 0.25 with --quick)")
    parser.add_argument("--only", default="", help="run the workloads whose name holds this text, and nothing else")
    parser.add_argument("--quick", action="store_true", help="the four main workloads, about 3 minutes")
    parser.add_argument("--full", action="store_true", help="drain a queue of 100,000, not 10,000: 20 minutes more")
    parser.add_argument("--peers", default="postfix,haraka", help="who takes part (postfix,haraka); empty: nobody")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report (bench/results)")
    arguments = parser.parse_args()
    arguments.runs = arguments.runs or (1 if arguments.quick else 3)
    arguments.scale = arguments.scale or (0.25 if arguments.quick else 1.0)
    gateways = _gateways(arguments)
    findings = report.Findings(arguments.runs)
    findings.descriptions = {kind.name: kind().description for kind in gateways}
    compare(_workloads(arguments), arguments.runs, gateways, findings)
    if not (arguments.only or arguments.quick):
        for kind in gateways:
            findings.latency[kind.name] = latency.measure(kind, max(50, round(_LATENCY_MESSAGES * arguments.scale)))
            findings.memory[kind.name] = memory(kind, arguments.scale)
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = report.markdown(findings)
    (arguments.out / "throughput.md").write_text(text)
    if findings.throughput:
        report.plot(findings.throughput, arguments.out / "throughput.svg")
    print("\n" + text)
    if findings.refused:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
