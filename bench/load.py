"""Measures a single run: a load generator sends mail through a gateway to smtp-sink, the next hop of each domain."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.gateways import LOGIN, PASSWORD, Gateway
from bench.generator import Job
from bench.processes import cpu_seconds, total_cpu
from bench.workloads import SENDER_DOMAIN, Workload
from tests.peers.ports import LOOPBACK, free_address
from tests.peers.process import PeerError, PeerProcess, until
from tests.peers.smtp_tools import CountingSink, Load, send_load
from tests.peers.suite import ROOT

RUN_SECONDS = 600.0
# The client addresses in PROXY headers, which connections have in turn. They are public, so that block lists are asked
# about them.
CLIENT_ADDRESSES = tuple(f"100.200.{number // 200}.{number % 200 + 1}" for number in range(1000))


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of one run. Seconds are counted from the first connection. When a queue is emptied,
    `delivered_seconds` is counted from the first delivery.
    """

    messages: int
    accepted_seconds: float
    delivered_seconds: float
    # The CPU times of the load generator and of the sinks, which the report shows beside those of the gateway.
    source_cpu_seconds: float
    sink_cpu_seconds: float
    # The CPU time of the gateway, by process.
    cpu_seconds: dict[str, float]

    @property
    def accepted_rate(self) -> float:
        return self.messages / self.accepted_seconds

    @property
    def delivered_rate(self) -> float:
        return self.messages / self.delivered_seconds


class LoadError(Exception):
    """The run cannot be compared with others. The message gives the reason."""


class Sink(CountingSink):
    """Runs smtp-sink, and measures its CPU time."""

    @property
    def cpu_seconds(self) -> float:
        return 0.0 if self._process is None else cpu_seconds(self._process.pid)


class Sinks:
    """Runs a next hop for each recipient domain. Each next hop has its own address, and all have the same port."""

    def __init__(self, domains: Sequence[str]) -> None:
        self.of_domain: dict[str, Sink] = {}
        with contextlib.ExitStack() as stack:
            for domain in domains:
                host = LOOPBACK if len(domains) == 1 else free_address()
                self.of_domain[domain] = stack.enter_context(Sink(host))
            self._stack = stack.pop_all()

    @property
    def next_hops(self) -> dict[str, tuple[str, int]]:
        return {domain: (sink.host, sink.port) for domain, sink in self.of_domain.items()}

    @property
    def counts(self) -> list[int]:
        return [sink.messages for sink in self.of_domain.values()]

    @property
    def cpu_seconds(self) -> float:
        return sum(sink.cpu_seconds for sink in self.of_domain.values())

    def wait_for(self, messages: int) -> None:
        """Waits until each sink has this number of messages. Raises LoadError."""
        try:
            until(lambda: min(self.counts) >= messages, "all messages", RUN_SECONDS)
        except PeerError:
            raise LoadError(f"the sink got {min(self.counts)} of {messages} messages in {RUN_SECONDS:g} s") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def send(workload: Workload, messages: int, gateway: Gateway) -> tuple[float, float]:
    """Sends the messages of the workload to the gateway. Returns the seconds until all were accepted, and the CPU
    seconds of the load generator.

    Raises LoadError when the gateway refuses a message.
    """
    sender = f"sender@{SENDER_DOMAIN}"
    if workload.plain:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        load = Load(
            messages, workload.size, workload.sessions, workload.keep_connection, sender, workload.recipients[0]
        )
        try:
            seconds = send_load(load, LOOPBACK, gateway.port, RUN_SECONDS)
        except subprocess.CalledProcessError as error:
            raise LoadError(f"{gateway.name}: smtp-source: {error.output}") from None
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    job = Job(
        host=LOOPBACK,
        port=gateway.port,
        messages=messages,
        sessions=workload.sessions,
        size=workload.size,
        keep_connection=workload.keep_connection,
        sender=f"{LOGIN}@{SENDER_DOMAIN}" if workload.auth else sender,
        recipients=workload.recipients,
        tls=workload.tls,
        login=gateway.login if workload.auth else "",
        password=PASSWORD if workload.auth else "",
        client_addresses=CLIENT_ADDRESSES if workload.checks and gateway.checks else (),
    )
    return _generate(job, gateway.name)


def _generate(job: Job, name: str) -> tuple[float, float]:
    folder = Path(tempfile.mkdtemp(prefix="posthouse-load-"))
    try:
        job.write(folder / "job")
        command: list[str | Path] = [sys.executable, "-m", "bench.generator", folder / "job"]
        process = PeerProcess(command, folder / "output", folder=ROOT)
        try:
            status = process.wait(RUN_SECONDS)
        finally:
            process.kill()
        if status != 0:
            raise LoadError(f"{name}: {process.log_tail()}")
        result = json.loads(process.log_tail(1))
        return float(result["seconds"]), float(result["cpu_seconds"])
    finally:
        shutil.rmtree(folder)


def run(workload: Workload, gateway: Gateway, sinks: Sinks, already: int) -> Measured:
    """Sends the workload through the gateway. The sinks already have `already` messages. Raises LoadError."""
    cpu, sink_cpu = total_cpu(gateway.processes()), sinks.cpu_seconds
    began = time.monotonic()
    accepted, source_cpu = send(workload, workload.messages, gateway)
    # The time in which the load generator starts is not counted.
    starting = max(0.0, time.monotonic() - began - accepted)
    sinks.wait_for(already + workload.messages)
    delivered = time.monotonic() - began - starting
    return Measured(
        messages=workload.messages,
        accepted_seconds=accepted,
        delivered_seconds=delivered,
        source_cpu_seconds=source_cpu,
        sink_cpu_seconds=sinks.cpu_seconds - sink_cpu,
        cpu_seconds=_spent(gateway, cpu),
    )


def drain(workload: Workload, gateway: Gateway, sinks: Sinks) -> Measured:
    """Fills the queue while nothing is delivered, then starts the deliveries, and measures the time from the first
    delivery to the last.
    """
    accepted, source_cpu = send(workload, workload.messages, gateway)
    if max(sinks.counts):
        raise LoadError(f"{gateway.name}: delivered while it should not")
    gateway.release()
    try:
        until(lambda: min(sinks.counts) > 0, "the first delivery", RUN_SECONDS)
    except PeerError:
        raise LoadError(f"{gateway.name}: nothing is delivered") from None
    began, first, cpu, sink_cpu = time.monotonic(), min(sinks.counts), total_cpu(gateway.processes()), sinks.cpu_seconds
    sinks.wait_for(workload.messages)
    delivered = time.monotonic() - began
    # The rate does not include messages that arrived before the clock started.
    return Measured(
        messages=workload.messages,
        accepted_seconds=accepted,
        delivered_seconds=delivered * workload.messages / max(1, workload.messages - first),
        source_cpu_seconds=source_cpu,
        sink_cpu_seconds=sinks.cpu_seconds - sink_cpu,
        cpu_seconds=_spent(gateway, cpu),
    )


def check_counts(workload: Workload, expected: int, sinks: Sinks, name: str) -> None:
    """Checks, after the gateway has stopped, that each sink has as many messages as were sent. Raises LoadError."""
    if set(sinks.counts) != {expected}:
        raise LoadError(f"{workload.name}, {name}: {expected} messages were sent, the sinks have {sinks.counts}")


def _spent(gateway: Gateway, before: dict[str, float]) -> dict[str, float]:
    return {name: seconds - before.get(name, 0.0) for name, seconds in total_cpu(gateway.processes()).items()}
