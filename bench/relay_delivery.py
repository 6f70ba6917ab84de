"""Measures how fast relay delivers to smtp-sink: its transport alone, with a dead MX, and from a full queue beside
Postfix.

`python -m bench.relay_delivery [--messages 6000] [--rounds 3] [--queue 3000]`; needs smtp-sink, and for the comparison
of queues also Postfix and root. The transport and plain aiosmtplib are measured without a queue: the messages are in
memory, as they are for relay's dispatcher when they have just arrived. Only ratios within one run are meaningful: those
of delivered messages per second, and on a busy machine those of CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import aiosmtplib
import uvloop

from bench.__main__ import measure as drained
from bench.gateways import Gateway, Postfix, Posthouse, postfix_is_here
from bench.report import machine
from bench.workloads import DRAIN
from services.relay.configuration.model import Configuration
from services.relay.delivery import DeliveryOptions, open_transport
from services.relay.model.attempt import OutgoingMessage, OutgoingRecipient, Result
from services.relay.routing.rules import resolve
from tests.peers.blackhole import Blackhole
from tests.peers.dns import DnsServer
from tests.peers.ports import free_address
from tests.peers.smtp_tools import CountingSink

_SENDER = b"sender@source.test"
_CONNECTIONS = 20
_MANY = 50
# The limit for all destinations together, as in the dispatcher.
_IN_FLIGHT = 100
_QUEUE = "4 KB, from a full queue"


@dataclass(frozen=True, slots=True)
class Figure:
    rate: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Job:
    """Messages of one size, whose recipients are spread over domains."""

    name: str
    size: int
    messages: int
    domains: tuple[str, ...]

    def content(self) -> bytes:
        head = b"From: sender@source.test\r\nTo: someone@sink.test\r\nSubject: bench\r\n\r\n"
        line = b"x" * 70 + b"\r\n"
        return head + line * max(1, (self.size - len(head)) // len(line))


async def posthouse(job: Job, nameserver: str, port: int) -> None:
    """Sends with relay's transport to the domains in turn, with as many transactions at the same time for each domain
    as its limit allows, like the dispatcher.
    """
    configuration = Configuration(revision=1, hostname="bench.posthouse.test")
    transport = open_transport(DeliveryOptions(nameservers=(nameserver,), mx_port=port, prohibited=()))
    message = OutgoingMessage("bench", _SENDER, job.content())
    left = dict.fromkeys(job.domains, job.messages // len(job.domains))
    running = dict.fromkeys(job.domains, 0)
    ended = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    in_flight = 0

    async def deliver(domain: str) -> None:
        nonlocal in_flight
        recipient = OutgoingRecipient(0, f"someone@{domain}".encode())
        route = resolve(configuration, _SENDER, recipient.address, quarantine=False)
        (outcome,) = await transport.deliver(configuration, route, message, [recipient])
        running[domain] -= 1
        in_flight -= 1
        if outcome.result is not Result.DELIVERED:
            raise SystemExit(f"not delivered: {outcome}")
        ended.set()

    turn = deque(job.domains)
    while any(left.values()) or in_flight:
        idle_turns = 0
        while idle_turns < len(turn):
            domain = turn[0]
            turn.rotate(-1)
            room = transport.capacity(f"domain:{domain}", configuration) - running[domain]
            if left[domain] and room > 0 and in_flight < _IN_FLIGHT:
                idle_turns = 0
                left[domain] -= 1
                running[domain] += 1
                in_flight += 1
                task = asyncio.create_task(deliver(domain))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            else:
                idle_turns += 1
        await ended.wait()
        ended.clear()
    await transport.close(1)


async def plain_aiosmtplib(job: Job, _nameserver: str, port: int) -> None:
    """Sends with aiosmtplib as its documentation shows: connections are kept, and each sends one message after the
    other. No MX look-ups are made.
    """
    content = job.content()
    share = job.messages // len(job.domains)
    connections = max(1, _CONNECTIONS // len(job.domains))

    async def send(domain: str, messages: int) -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="bench.test", start_tls=False)
        await client.connect()
        for _ in range(messages):
            await client.sendmail(_SENDER.decode(), [f"someone@{domain}"], content)
        await client.quit()

    await asyncio.gather(*(send(domain, share // connections) for domain in job.domains for _ in range(connections)))


Contender = Callable[[Job, str, int], Awaitable[None]]


def measure(contender: Contender, job: Job, nameserver: str, port: int) -> Figure:
    began, cpu = time.perf_counter(), time.process_time()
    uvloop.run(_as_coroutine(contender, job, nameserver, port))
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    return Figure(job.messages / seconds, 1000 * used / job.messages)


async def _as_coroutine(contender: Contender, job: Job, nameserver: str, port: int) -> None:
    await contender(job, nameserver, port)


def zone(dns: DnsServer, hole: str) -> None:
    """Adds the records of all domains. one.test and many others have one MX host, which works. The other domains have a
    second MX host that refuses connections or is silent.
    """
    dns.add("mx.test", "A", "127.0.0.1")
    dns.add("dead.test", "A", free_address())
    dns.add("hole.test", "A", hole)
    for domain in ("one.test", *(f"d{number}.test" for number in range(_MANY))):
        dns.add(domain, "MX", "10 mx.test.")
    dns.add("worse.test", "MX", "5 dead.test.", "10 mx.test.")
    dns.add("equal.test", "MX", "10 dead.test.", "10 mx.test.")
    dns.add("silent.test", "MX", "5 hole.test.", "10 mx.test.")


def jobs(messages: int) -> Sequence[Job]:
    many = tuple(f"d{number}.test" for number in range(_MANY))
    return (
        Job("4 KB, one destination", 4096, messages, ("one.test",)),
        Job("50 KB, one destination", 51_200, messages // 2, ("one.test",)),
        Job(f"4 KB, {_MANY} destinations", 4096, messages, many),
        Job("4 KB, the first MX of two is dead", 4096, messages, ("worse.test",)),
        Job("4 KB, one of two equal MX is dead", 4096, messages, ("equal.test",)),
        Job("4 KB, the first MX of two is silent", 4096, messages * 5, ("silent.test",)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.relay_delivery", description=__doc__)
    parser.add_argument("--messages", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queue", type=int, default=3000, help="messages in the full queue; 0: leave that out")
    arguments = parser.parse_args()
    chosen = jobs(arguments.messages)
    found: dict[tuple[str, str], list[Figure]] = {}
    with CountingSink() as sink, DnsServer() as dns, Blackhole(free_address(), sink.port) as hole:
        zone(dns, hole.host)
        for _ in range(arguments.rounds):
            # The programs run in turns, so that a slow moment of the machine affects all of them.
            for job in chosen:
                for name, contender in contenders(job).items():
                    figure = measure(contender, job, dns.address, sink.port)
                    found.setdefault((job.name, name), []).append(figure)
    print(f"Machine: {machine()}; medians of {arguments.rounds} alternated rounds, smtp-sink on the same machine\n")
    baseline = {job.name: "aiosmtplib" if "aiosmtplib" in contenders(job) else chosen[0].name for job in chosen}
    print(_table(found, baseline))
    if arguments.queue:
        print(f"\nFrom a full queue of {arguments.queue:,} to one destination, each message fsynced when it came in\n")
        print(_table(from_full_queue(arguments.queue, arguments.rounds), {_QUEUE: "Postfix"}))


def from_full_queue(messages: int, rounds: int) -> dict[tuple[str, str], list[Figure]]:
    """Measures relay and Postfix in turns while they deliver the mail in their queues. For Posthouse only the CPU time
    of relay is counted.
    """
    workload = replace(DRAIN, messages=messages)
    kinds: tuple[type[Gateway], ...] = (Posthouse, Postfix) if postfix_is_here() else (Posthouse,)
    found: dict[tuple[str, str], list[Figure]] = {}
    for _ in range(rounds):
        for kind in kinds:
            measured = drained(kind, workload)
            spent = measured.cpu_seconds["relay"] if kind is Posthouse else sum(measured.cpu_seconds.values())
            figure = Figure(measured.delivered_rate, 1000 * spent / messages)
            found.setdefault((_QUEUE, kind.name), []).append(figure)
    return found


def _table(found: dict[tuple[str, str], list[Figure]], baseline: dict[str, str]) -> str:
    """Returns the table. `baseline` says for each job with which series Posthouse is compared: that of another program,
    or of Posthouse in another job.
    """
    rows = [
        "| job | contender | delivered/s (min to max) | CPU ms a message | delivered/s | CPU |",
        "|---|---|---|---|---|---|",
    ]
    for (job, name), figures in found.items():
        rate, cpu = _medians(figures)
        against = found.get((job, baseline[job])) or found.get((baseline[job], name))
        ratios = " | "
        if name == "Posthouse" and against is not None and against is not figures:
            other_rate, other_cpu = _medians(against)
            named = baseline[job] if (job, baseline[job]) in found else "all alive"
            ratios = f"{rate / other_rate:.2f} of {named} | {cpu / other_cpu:.2f}"
        least, most = min(figure.rate for figure in figures), max(figure.rate for figure in figures)
        rows.append(f"| {job} | {name} | {rate:,.0f} ({least:,.0f} to {most:,.0f}) | {cpu:.3f} | {ratios} |")
    return "\n".join(rows)


def _medians(figures: Sequence[Figure]) -> tuple[float, float]:
    return statistics.median(figure.rate for figure in figures), statistics.median(figure.cpu_ms for figure in figures)


def contenders(job: Job) -> dict[str, Contender]:
    """Returns the programs to measure in a job. aiosmtplib makes no look-ups. So in a job with a dead host, Posthouse
    is compared only with its own figure without a dead host.
    """
    healthy = job.domains[0] in ("one.test", "d0.test")
    return {"Posthouse": posthouse, **({"aiosmtplib": plain_aiosmtplib} if healthy else {})}


if __name__ == "__main__":
    main()
