"""Measures the decisions per second of one policy process, with all rules, with 100,000 access rules, and with counters
in memory and in Redis.

    python -m bench.policy_decisions [--seconds 5] [--profile]
    python -m bench.policy_decisions --bare     without gRPC: frames of bytes in, frames of bytes out

Policy runs in a separate process on one core, and the client on another core. Requests and verdicts go over loopback.
The requests are those of typical sessions of 2,000 clients: CONNECT, MAIL, two RCPT, END_OF_DATA. A DNS server on
loopback answers the look-ups. The answers are then cached, as they are for every session of a client except the first.
The verdict log is written to a file.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import itertools
import multiprocessing
import os
import pstats
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import uvloop
from posthouse.config.v1 import config_pb2
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc

from libs.dns.servers import server_list
from libs.runtime import rpc
from services.policy import wire
from services.policy.__main__ import open_store
from services.policy.credentials import CredentialChecker
from services.policy.engine import Engine
from services.policy.explain import Explainer
from services.policy.failures import FailureLimits
from services.policy.history import History
from services.policy.hits import HitCounts
from services.policy.lookups.resolver import Resolver
from services.policy.lookups.service import Lookups
from services.policy.metrics import DecisionCounts
from services.policy.rules.model import Verdict
from services.policy.servicer import CALLERS, SERVICE, PolicyServicer, Stream
from services.policy.snapshot import compile_snapshot
from services.policy.verdict_log import VerdictLog
from tests.peers import plain_grpc
from tests.peers.dns import DnsServer
from tests.peers.redis import Redis

ACCESS_RULES = 100_000
CLIENTS = 2_000
IN_FLIGHT = (1, 20, 100, 1_000)
NOTHING = "nothing"
_ENFORCE = config_pb2.MODE_ENFORCE
_MANY = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    decisions: int
    seconds: float
    # The CPU seconds of the policy process.
    cpu_seconds: float
    # The seconds from the request to the verdict, for each decision.
    latencies: list[float]

    def __str__(self) -> str:
        rate = self.decisions / self.seconds
        microseconds = self.cpu_seconds / self.decisions * 1e6
        middle = statistics.median(self.latencies) * 1e3
        late = statistics.quantiles(self.latencies, n=100)[98] * 1e3
        return f"{rate:>9,.0f} /s   {microseconds:>6.1f} us CPU each   median {middle:>7.3f} ms   99 % {late:>8.3f} ms"


def configuration() -> config_pb2.PolicySnapshot:
    """Returns settings that turn on every rule that needs no content, and 100,000 access rules with all criteria except
    domain.
    """
    snapshot = config_pb2.PolicySnapshot(revision=1)
    snapshot.general.smtp_auth.enabled = True
    snapshot.general.smtp_auth.sender_must_match_login = True
    snapshot.general.smtp_auth.local_networks.extend(["127.0.0.0/8", "192.168.0.0/16"])
    profile = snapshot.general.profile
    profile.hostname, profile.banner = "mx.posthouse.test", "ESMTP"
    profile.max_recipients, profile.max_hops, profile.max_message_size = 1000, 50, 25 * 1024 * 1024
    snapshot.sender_policy.reject_non_fqdn_sender = _ENFORCE
    snapshot.sender_policy.reject_unknown_sender_domain = _ENFORCE
    connection = snapshot.connection_policy
    connection.reject_unknown_client_hostname = _ENFORCE
    connection.max_concurrent_connections = connection.max_messages_per_minute = _MANY
    connection.max_connections_per_minute = _MANY
    advanced = snapshot.advanced_security
    advanced.reject_unauthorized_pipelining = advanced.reject_non_fqdn_helo = advanced.reject_unknown_helo = _ENFORCE
    advanced.max_unknown_recipients_per_day, advanced.max_junk_commands = 1_000_000, 100
    snapshot.trusted_networks.add(id="t1").networks.append("198.51.100.0/24")
    snapshot.local_domains.add(id="l1", domain="local.test")
    snapshot.relay_domains.add(id="r1", domain="relay.test")
    for number in range(1_000):
        snapshot.accounts.add(id=f"a{number}", login=f"user{number}", addresses=[f"user{number}@local.test"])
    _add_access_rules(snapshot)
    return snapshot


def _add_access_rules(snapshot: config_pb2.PolicySnapshot) -> None:
    rule = config_pb2.AccessRule
    kinds: list[tuple[Any, Callable[[int], str]]] = [
        (rule.CRITERION_SENDER, lambda number: f"spam{number}@blocked{number % 997}.test"),
        (rule.CRITERION_RECIPIENT, lambda number: f"old{number}@local.test"),
        (rule.CRITERION_IP, lambda number: f"203.{number >> 16 & 63}.{number >> 8 & 255}.{number & 255}"),
        (rule.CRITERION_NETWORK, lambda number: f"11.{number >> 8 & 255}.{number & 255}.0/24"),
        (rule.CRITERION_NETWORK, lambda number: f"12.{number & 63}.{number >> 6 & 63}.1/255.63.63.1"),
    ]
    for number in range(ACCESS_RULES):
        criterion, value = kinds[number % len(kinds)]
        snapshot.access_rules.add(
            id=f"rule{number}",
            list=rule.LIST_ALLOW if number % 10 == 9 else rule.LIST_BLOCK,
            criterion=criterion,
            value=value(number // len(kinds)),
            action=rule.BLOCK_ACTION_REJECT,
            mode=_ENFORCE,
        )


def requests() -> list[policy_pb2.DecideRequest]:
    """Returns the requests of one session after the other."""
    batch = []
    for number in range(CLIENTS):
        session = policy_pb2.Session(
            id=f"{number:032x}",
            client_address=f"192.0.{2 + number // 250}.{number % 250 + 1}",
            client_port=40_000,
            local_address="192.0.2.254",
            local_port=25,
            listener=policy_pb2.LISTENER_SMTP,
            helo_name=b"mail.sender.test",
            esmtp=True,
            profile_revision=1,
        )
        transaction = policy_pb2.Transaction(sender=f"joe{number}@sender.test".encode(), declared_size=4096)
        batch.append(policy_pb2.DecideRequest(stage=policy_pb2.STAGE_CONNECT, session=session))
        batch.append(policy_pb2.DecideRequest(stage=policy_pb2.STAGE_MAIL, session=session, transaction=transaction))
        for recipient in (f"user{number % 1000}@local.test", f"any{number}@relay.test"):
            transaction.recipient = recipient.encode()
            batch.append(
                policy_pb2.DecideRequest(stage=policy_pb2.STAGE_RCPT, session=session, transaction=transaction)
            )
            transaction.recipients.append(recipient.encode())
        content = policy_pb2.Content(size=4096, hops=2, from_fields=1, from_addresses=[transaction.sender])
        batch.append(
            policy_pb2.DecideRequest(
                stage=policy_pb2.STAGE_END_OF_DATA, session=session, transaction=transaction, content=content
            )
        )
    return batch


def serve(ports: Connection, dns: str, state_url: str, profile: bool, kept: int) -> None:
    """Runs the policy process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    profiler = cProfile.Profile() if profile else None
    if profiler is not None:
        profiler.enable()
    uvloop.run(_serve(ports, dns, state_url, kept))
    if profiler is not None:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(35)


async def _serve(ports: Connection, dns: str, state_url: str, kept: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    resolver = Resolver(server_list(dns), seconds=5)
    lookups = Lookups(resolver, seconds=5)
    store = open_store("memory://" if state_url == NOTHING else state_url)
    with tempfile.TemporaryFile("w") as log:
        engine = Engine(
            store,
            lookups,
            CredentialChecker(FailureLimits(store)),
            DecisionCounts(),
            VerdictLog(log.write),
            History(kept),
            HitCounts(),
        )
        began = time.monotonic()
        engine.use(compile_snapshot(configuration()))
        # The garbage collector has the same thresholds in services/policy/__main__.py.
        gc.set_threshold(50_000, 20, 50)
        gc.freeze()
        print(f"{ACCESS_RULES:,} access rules made and compiled in {time.monotonic() - began:.2f} s", flush=True)
        if state_url == NOTHING:
            engine.decide = _accept  # type: ignore[method-assign, assignment]
        servicer = PolicyServicer(engine, Explainer(engine))
        server = rpc.Server({SERVICE: CALLERS}, servicer.register)
        port = await plain_grpc.start(server)
        await store.start()
        ports.send(port)
        await stop.wait()
        await server.stop(0.1)
        await store.stop()


_ACCEPTED = wire.body(Verdict(), 1)


def _accept(request: wire.Request, answer: Callable[[Sequence[bytes]], object], *_: object) -> None:
    """Accepts every request without a decision. With it, only reading, writing and gRPC are measured."""
    answer(wire.answer(request, _ACCEPTED))


async def over_stream(
    stub: Any, mix: list[policy_pb2.DecideRequest], in_flight: int, seconds: float, at_most: int = 1_000_000_000
) -> Figure:
    """Sends requests over one stream, a new one for each verdict that arrives. Each frame has all waiting requests."""
    call = stub.DecideStream()
    counter = itertools.count(1)
    settled = policy_pb2.OpenSessions(settled_before=1)
    await call.write(policy_pb2.DecideFrame(worker="bench", counter=next(counter), open_sessions=settled))
    asked: dict[int, float] = {}
    latencies: list[float] = []
    position = 0

    async def ask(count: int) -> None:
        nonlocal position
        frame = policy_pb2.DecideFrame(counter=next(counter))
        now = time.perf_counter()
        for _ in range(count):
            cycle, number = divmod(position, len(mix))
            request = mix[number]
            position += 1
            request.request_id = position
            # In each cycle, the client has a new session, and its previous session ends.
            request.session.id = f"{cycle:016x}{number // 5:016x}"
            if request.stage == policy_pb2.STAGE_CONNECT and cycle:
                ended = f"{cycle - 1:016x}{number // 5:016x}"
                frame.closed_sessions.add(session_id=ended, client_address=request.session.client_address)
            asked[position] = now
            frame.requests.append(request)
        await call.write(frame)

    await ask(in_flight)
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends and len(latencies) < at_most:
        verdicts = (await call.read()).verdicts
        now = time.perf_counter()
        latencies += [now - asked.pop(verdict.request_id) for verdict in verdicts]
        await ask(len(verdicts))
    call.cancel()
    return Figure(len(latencies), seconds, 0.0, latencies)


async def by_unary(stub: Any, mix: list[policy_pb2.DecideRequest], in_flight: int, seconds: float) -> Figure:
    """Runs `in_flight` callers, each of which sends one request after the other."""
    latencies: list[float] = []
    ends = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        position = number
        while (began := time.perf_counter()) < ends:
            await stub.Decide(mix[position % len(mix)])
            latencies.append(time.perf_counter() - began)
            position += in_flight

    await asyncio.gather(*map(caller, range(in_flight)))
    return Figure(len(latencies), seconds, 0.0, latencies)


Way = Callable[[Any, list[policy_pb2.DecideRequest], int, float], Awaitable[Figure]]


async def measure(port: int, process: int, seconds: float) -> None:
    mix = requests()
    async with plain_grpc.channel(port) as channel:
        stub = policy_pb2_grpc.PolicyStub(channel)
        # Before the measurement, every request is sent twice, so that all look-ups are cached.
        await over_stream(stub, mix, 100, 120.0, at_most=2 * len(mix))
        ways: tuple[tuple[str, Way, tuple[int, ...]], ...] = (
            ("one stream", over_stream, IN_FLIGHT),
            ("unary", by_unary, (1, 20, 100)),
        )
        for name, way, numbers in ways:
            for in_flight in numbers:
                before = _cpu_seconds(process)
                figure = await way(stub, mix, in_flight, seconds)
                spent = _cpu_seconds(process) - before
                measured = Figure(figure.decisions, figure.seconds, spent, figure.latencies)
                print(f"  {name:>10}, {in_flight:>5,} in flight {measured}", flush=True)


def _cpu_seconds(process: int) -> float:
    with open(f"/proc/{process}/stat") as stat:  # noqa: PTH123
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _NoContext:
    """Replaces the context of a stream that is neither read nor written."""


async def bare(checks: str, frame_size: int = 100, rounds: int = 12) -> float:
    """Returns the CPU microseconds of a decision, from the octets of its frame to those of the answer: the smallest
    figure of `rounds`.

    The smallest figure is used, because other work on the machine can only make it larger. `checks` is "absent" or
    "off", the state of the content checks in the snapshot.
    """
    with DnsServer() as server, tempfile.TemporaryFile("w") as log:
        zone(server)
        resolver = Resolver(server_list(server.address), seconds=5)
        lookups = Lookups(resolver, seconds=5)
        store = open_store("memory://")
        engine = Engine(
            store,
            lookups,
            CredentialChecker(FailureLimits(store)),
            DecisionCounts(),
            VerdictLog(log.write),
            History(10_000),
            HitCounts(),
        )
        snapshot = configuration()
        if checks == "off":
            _switch_off(snapshot.content_checks)
        engine.use(compile_snapshot(snapshot))
        gc.set_threshold(50_000, 20, 50)
        gc.freeze()
        stream = Stream(engine, _NoContext())  # type: ignore[arg-type]
        # The stream names a worker, as all streams of ingress do, so that open sessions are counted.
        stream.take(policy_pb2.DecideFrame(worker="bench", counter=1, open_sessions=policy_pb2.OpenSessions()))
        mix, found = requests(), []
        for number in range(rounds + 2):
            frames = [
                policy_pb2.DecideFrame(
                    counter=number + 2, requests=_next(mix, number, start, frame_size)
                ).SerializeToString()
                for start in range(0, len(mix), frame_size)
            ]
            began = time.process_time()
            for frame in frames:
                stream.take(policy_pb2.DecideFrame.FromString(frame))
                stream.answers()
                if number < 2:
                    # Before the measurement, every request is sent twice, so that all look-ups are cached.
                    await stream.settled()
            spent = time.process_time() - began
            if not await stream.settled() and number > 1:
                found.append(spent / len(mix) * 1e6)
        await lookups.close()
        return min(found)


def _next(
    mix: list[policy_pb2.DecideRequest], cycle: int, start: int, count: int
) -> Iterator[policy_pb2.DecideRequest]:
    for number in range(start, min(start + count, len(mix))):
        request = mix[number]
        request.request_id = cycle * len(mix) + number
        request.session.id = f"{cycle:016x}{number // 5:016x}"
        yield request


def _switch_off(checks: config_pb2.ContentChecks) -> None:
    """Turns the content checks off, but keeps their other settings, as an operator may who has tried them."""
    off = config_pb2.MODE_OFF
    checks.dnsbl.mode = checks.spf.mode = checks.dkim = checks.dmarc = checks.antivirus.mode = off
    checks.dnsbl.zones.add(zone="list.test")
    checks.antivirus.clamd = "127.0.0.1:3310"


def zone(server: DnsServer) -> None:
    server.add("sender.test", "MX", "10 mail.sender.test.", ttl=3600)
    server.add("mail.sender.test", "A", "192.0.2.1", ttl=3600)
    for request in requests():
        if request.stage == policy_pb2.STAGE_CONNECT:
            address = request.session.client_address
            name = f"c{address.replace('.', '-')}.sender.test"
            server.ptr(address, name)
            server.add(name, "A", address, ttl=3600)


def run(state_url: str, seconds: float, *, profile: bool = False, kept: int = 10_000) -> None:
    """Starts one policy process and measures it."""
    here, there = multiprocessing.Pipe()
    with DnsServer() as server:
        zone(server)
        child = multiprocessing.get_context("spawn").Process(
            target=serve, args=(there, server.address, state_url, profile, kept)
        )
        child.start()
        try:
            port = here.recv()
            cores = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {max(cores)})
            try:
                uvloop.run(measure(port, child.pid or 0, seconds))
            finally:
                os.sched_setaffinity(0, cores)
        finally:
            child.terminate()
            child.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--profile", action="store_true", help="show where policy's time goes, and be slower")
    parser.add_argument("--no-redis", action="store_true")
    parser.add_argument("--bare", action="store_true", help="CPU of a decision without gRPC; checks absent and off")
    arguments = parser.parse_args()
    if arguments.bare:
        for checks in ("absent", "off", "absent", "off"):
            print(f"content checks {checks:>6}: {uvloop.run(bare(checks)):.1f} us CPU each")
        return
    print("nothing decided: what gRPC alone costs")
    run(NOTHING, arguments.seconds)
    print("counters in memory")
    run("memory://", arguments.seconds, profile=arguments.profile)
    print("counters in memory, no session kept for Explain")
    run("memory://", arguments.seconds, kept=0)
    if not arguments.no_redis:
        with Redis() as redis:
            print("counters in Redis")
            run(redis.url, arguments.seconds, profile=arguments.profile)


if __name__ == "__main__":
    main()
