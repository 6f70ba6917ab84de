"""Shows what a service uses its CPU time for: `python -m bench.profile ingress|policy|relay|config_api [--one]`.

Runs the workload with the service under cProfile (`--how calls`, the default), under a sampler of its main thread
(`--how samples`, or `--how stages` to group the samples by stage of the work), or under Linux's perf (`--how native`),
which shows C libraries and the kernel, but no Python functions.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import stages
from bench.gateways import change
from libs.runtime import processors
from tests.peers.process import PeerProcess, program, until
from tests.peers.smtp_tools import CountingSink, Load, send_load
from tests.peers.suite import ROOT, Suite

_WARM_UP = 200
_PERF_OPTIONS = ("record", "-q", "-e", "cpu-clock", "-F", "1999", "-g")


class ProfiledSuite(Suite):
    """A suite that runs one of its services under `bench.profiled`."""

    def __init__(self, service: str, kind: str, out: Path, environment: Mapping[str, str]) -> None:
        super().__init__(environment, cpus=processors.usable())
        self._service = service
        self._kind = kind
        self._out = out

    def _spawn(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> PeerProcess:
        if name == self._service and self._kind != "native":
            module = f"services.{name}"
            profiler = "calls" if self._kind == "calls" else "samples"
            arguments = [sys.executable, "-m", "bench.profiled", profiler, str(self._out), module]
        return super()._spawn(name, arguments, environment)


def configure(suite: Suite, sink_port: int) -> None:
    """Allows loopback to send anywhere, and routes all mail to the sink."""
    networks = {"name": "loopback", "networks": ["127.0.0.0/8"]}
    suite.api.post("/v1/trusted-networks", json=networks).raise_for_status()
    relay_host = {"host": suite.host, "port": sink_port}
    change(suite.api, "/v1/settings/delivery", {"mode": "relay_host", "relay_host": relay_host})


def threads(pid: int) -> dict[str, float]:
    """Returns the CPU seconds of each thread of a process so far."""
    seconds: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        fields = rest.split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        seconds[f"{'main' if int(task.name) == pid else task.name} ({name})"] = used
    return seconds


@contextmanager
def _recording(kind: str, pid: int, out: Path) -> Iterator[None]:
    if kind == "native":
        command: list[str | Path] = [program("perf"), *_PERF_OPTIONS, "-p", str(pid), "-o", out]
        perf = PeerProcess(command, out.with_suffix(".log"), end_signal=signal.SIGINT)
        until(lambda: out.exists() and out.stat().st_size > 0, "perf records")
        yield
        perf.stop()
        return
    os.kill(pid, signal.SIGUSR1)
    yield
    os.kill(pid, signal.SIGUSR2)
    until(out.exists, "the profile is written")


def run(service: str, kind: str, load: Load, top: int) -> str:
    """Sends the load through a new suite, and returns the report."""
    with tempfile.TemporaryDirectory(prefix="posthouse-profile-") as folder, CountingSink() as sink:
        out = Path(folder) / "profile"
        names = ("CONFIG_API", "POLICY", "RELAY", "INGRESS")
        quiet = {f"{name}_LOG_LEVEL": "warning" for name in names} | {f"{name}_METRICS_PORT": "0" for name in names}
        with ProfiledSuite(service, kind, out, quiet) as suite:
            configure(suite, sink.port)
            warm = Load(_WARM_UP, load.size, load.sessions, load.reuse_connections)
            send_load(warm, suite.host, suite.smtp_port)
            sink.wait_for_messages(_WARM_UP)
            pid = suite.pid(service)
            before = threads(pid)
            with _recording(kind, pid, out):
                seconds = send_load(load, suite.host, suite.smtp_port)
                sink.wait_for_messages(_WARM_UP + load.messages, 600)
            after = threads(pid)
        used = {name: seconds_now - before.get(name, 0.0) for name, seconds_now in sorted(after.items())}
        way = "many" if load.reuse_connections else "one"
        cost = ", ".join(f"{name} {1000 * spent / load.messages:.3f}" for name, spent in used.items() if spent > 0)
        return "\n".join(
            (
                f"{service}, {load.messages} messages of {load.size} octets, {way} a connection",
                f"{load.messages / seconds:,.0f} accepted/s with the profiler",
                f"CPU ms a message by thread: {cost}",
                "",
                _by_stage(service, out, load.messages, used)
                if kind == "stages"
                else _READERS[kind](out, top, load.messages, sum(used.values())),
            )
        )


def _calls(out: Path, top: int, messages: int, _seconds: float) -> str:
    profiles: dict[str, list[tuple[str, int, float, float]]] = json.loads(out.read_text())
    columns: tuple[tuple[str, Callable[[tuple[str, int, float, float]], float]], ...] = (
        ("own time", lambda row: row[2]),
        ("with all that it calls", lambda row: row[3]),
    )
    parts: list[str] = []
    for thread, rows in profiles.items():
        calls, spent = sum(row[1] for row in rows), sum(row[2] for row in rows)
        if spent < 0.01 * messages / 1000:
            continue
        parts.append(f"\nthread {thread}: {calls / messages:,.1f} calls and {1000 * spent / messages:.3f} ms a message")
        for title, column in columns:
            parts.append(f"\n{title}\n   us a message  calls a message")
            ranked = sorted(rows, key=column, reverse=True)
            parts += [
                f"{1e6 * column(row) / messages:15.1f} {row[1] / messages:16.2f}  {_short(row[0])}"
                for row in ranked[:top]
            ]
    return "\n".join(parts)


def _samples(out: Path, top: int, messages: int, seconds: float) -> str:
    stacks: list[tuple[list[str], int]] = json.loads(out.read_text())
    total = sum(count for _, count in stacks)
    # The kernel samples less often than requested, so the shares are scaled to the CPU time of the process.
    cost = 1e6 * seconds / (total * messages)
    own: Counter[str] = Counter()
    own_lines: Counter[str] = Counter()
    below: Counter[str] = Counter()
    for stack, count in stacks:
        named = [_without_line(entry) for entry in stack]
        own[named[0]] += count
        own_lines[stack[0]] += count
        for entry in set(named):
            below[entry] += count
    parts = [f"{total} samples of a process that used {1000 * seconds / messages:.3f} ms a message"]
    for title, counter in (
        ("own time by function", own),
        ("own time by line", own_lines),
        ("with all that it calls", below),
    ):
        parts.append(f"\n{title}")
        parts += [
            f"{100 * count / total:6.2f} %  {count * cost:8.1f} us a message  {_short(entry)}"
            for entry, count in counter.most_common(top)
        ]
    return "\n".join(parts)


def _by_stage(service: str, out: Path, messages: int, used: Mapping[str, float]) -> str:
    """Returns the CPU time of the main thread by stage, and the CPU time of each other thread as the
    kernel counts it.
    """
    main = sum(spent for name, spent in used.items() if name.startswith("main "))
    rows = [(stage, share * main) for stage, share in stages.shares(service, json.loads(out.read_text()), str(ROOT))]
    others: dict[str, float] = {}
    for name, spent in used.items():
        if not name.startswith("main "):
            kind = f"other threads: {name.partition('(')[2].rstrip(')')}"
            others[kind] = others.get(kind, 0.0) + spent
    rows += [(kind, spent) for kind, spent in others.items() if spent > 0]
    return "\n".join(f"{1e6 * spent / messages:8.1f} us a message  {stage}" for stage, spent in rows)


def _native(out: Path, top: int, _messages: int, _seconds: float) -> str:
    parts: list[str] = []
    for title, sort in (("by library", "dso"), ("by symbol", "dso,symbol"), ("by thread and library", "comm,dso")):
        command = [
            str(program("perf")),
            "report",
            "-i",
            str(out),
            "--stdio",
            "--no-children",
            "-g",
            "none",
            "--sort",
            sort,
        ]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows = [line for line in report.splitlines() if line.strip() and not line.startswith("#")]
        parts += [f"\n{title}", *rows[:top]]
    return "\n".join(parts)


_READERS: Mapping[str, Callable[[Path, int, int, float], str]] = {
    "calls": _calls,
    "samples": _samples,
    "native": _native,
}


def _without_line(entry: str) -> str:
    place, _, name = entry.partition(" ")
    return f"{place.rpartition(':')[0]} {name}"


def _short(entry: str) -> str:
    return entry.replace(f"{ROOT}/", "").replace(f"{Path(sys.prefix) / 'lib'}/", "")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("service", choices=("ingress", "policy", "relay", "config_api"))
    parser.add_argument("--how", choices=(*_READERS, "stages"), default="calls")
    parser.add_argument("--size", type=int, default=4096, help="octets of body (4096)")
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--one", action="store_true", help="a connection for each message, not many")
    parser.add_argument("--top", type=int, default=25, help="rows of each table (25)")
    arguments = parser.parse_args()
    if arguments.how == "native" and shutil.which("perf") is None:
        raise SystemExit("perf is not installed: apt-get install linux-perf")
    if arguments.how == "stages" and not stages.has(arguments.service):
        raise SystemExit(f"the stages of {arguments.service} are not told apart")
    load = Load(arguments.messages, arguments.size, arguments.sessions, not arguments.one)
    print(run(arguments.service, arguments.how, load, arguments.top))


if __name__ == "__main__":
    main()
