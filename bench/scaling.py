"""Measures the cost of a message with 1, 2 and 3 processes of ingress and relay: `python -m bench.scaling`.

Each row is a separate run on one PostgreSQL (with fsync) and one Redis. Messages of 4 KB are sent over connections that
stay open, divided among the ingress processes, and relayed to one sink. CPU time is the user and system time of the
processes while messages are sent, from /proc. Other load on the machine changes it less than it changes the elapsed
time. PostgreSQL itself counts the octets and syncs of its WAL.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.gateways import change
from bench.processes import total_cpu
from tests.peers.postgres import Postgres
from tests.peers.process import descendants
from tests.peers.redis import Redis
from tests.peers.smtp_tools import CountingSink, Load, RunningLoad
from tests.peers.suite import Suite

_WARM_UP = 200
_SESSIONS = 20
_SIZE = 4096
_LIMIT = 1000
_SERVICES = ("ingress", "policy", "relay")
ROWS = ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 3))


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one message: CPU in milliseconds, WAL in octets."""

    per_second: float
    cpu: Mapping[str, float]
    wal: float
    syncs: float


class Topology:
    """The replicas on one database, and the next hop that accepts their mail."""

    def __init__(self, stack: ExitStack, postgres: Postgres, redis: Redis, ingress: int, relay: int) -> None:
        self._postgres = postgres
        self._sink = stack.enter_context(CountingSink())
        environment = {f"{name}_METRICS_PORT": "0" for name in ("CONFIG_API", "POLICY", "RELAY", "INGRESS")}
        self._suite = Suite(
            environment,
            replicas={"ingress": ingress, "relay": relay},
            postgres_url=postgres.create_database(),
            redis_url=redis.url,
        )
        stack.enter_context(self._suite)
        self._redis = redis
        self._configure()

    def _configure(self) -> None:
        api = self._suite.api
        api.post("/v1/trusted-networks", json={"name": "loopback", "networks": ["127.0.0.0/8"]}).raise_for_status()
        relay_host = {"host": self._suite.host, "port": self._sink.port}
        change(api, "/v1/settings/delivery", {"mode": "relay_host", "relay_host": relay_host})
        change(api, "/v1/settings/connection-policy", {"max_concurrent_connections": _LIMIT})

    def measure(self, messages: int) -> Cost:
        self._send(_WARM_UP, 0)
        cpu, wal, began = total_cpu(self._processes()), self._wal(), time.monotonic()
        self._send(messages, self._sink.messages)
        seconds = time.monotonic() - began
        used = total_cpu(self._processes())
        after = self._wal()
        return Cost(
            per_second=messages / seconds,
            cpu={name: 1000 * (used[name] - cpu[name]) / messages for name in used},
            wal=(after[0] - wal[0]) / messages,
            syncs=(after[1] - wal[1]) / messages,
        )

    def _send(self, messages: int, had: int) -> None:
        """Divides the messages among the ingress processes, and sends to all processes at the same time. Returns when
        the sink has all messages.
        """
        names = [name for name, process in self._suite.layout.items() if process.service == "ingress"]
        load = Load(messages // len(names), _SIZE, _SESSIONS // len(names), reuse_connections=True)
        with ExitStack() as stack:
            ports = [self._suite.port("INGRESS_SMTP_PORT", name) for name in names]
            loads = [stack.enter_context(RunningLoad(load, self._suite.host, port)) for port in ports]
            for load_under_way in loads:
                with contextlib.suppress(subprocess.CalledProcessError):
                    load_under_way.wait()
        self._sink.wait_for_messages(had + load.messages * len(names), 120)

    def _processes(self) -> Mapping[str, Sequence[int]]:
        processes = {
            service: [
                self._suite.pid(name) for name, process in self._suite.layout.items() if process.service == service
            ]
            for service in _SERVICES
        }
        postmaster = self._postgres._running().pid  # noqa: SLF001 - a benchmark of what it costs
        return {**processes, "postgresql": [postmaster, *descendants(postmaster)]}

    def _wal(self) -> tuple[float, float]:
        """Returns the octets and the syncs of PostgreSQL's write-ahead log (WAL) so far."""
        octets, syncs = self._postgres.query("SELECT wal_bytes, wal_sync FROM pg_stat_wal").split("|")
        return float(octets), float(syncs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--messages", type=int, default=3000, help="of each run (3000)")
    messages = parser.parse_args().messages // 6 * 6
    columns = (*_SERVICES, "postgresql")
    print(f"| ingress | relay | messages/s | {' | '.join(f'{name}, ms' for name in columns)} | WAL octets | syncs |")
    print("|" + "---|" * (5 + len(columns)))
    with Postgres(durable=True) as postgres, Redis() as redis:
        for ingress, relay in ROWS:
            with ExitStack() as stack:
                cost = Topology(stack, postgres, redis, ingress, relay).measure(messages)
            cpu = " | ".join(f"{cost.cpu[name]:.2f}" for name in columns)
            print(
                f"| {ingress} | {relay} | {cost.per_second:.0f} | {cpu} | {cost.wal:.0f} | {cost.syncs:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
