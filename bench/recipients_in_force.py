"""`python -m bench.recipients_in_force` measures how long changes of a list of recipients take until they are in force,
while the list grows to 1,000,000 recipients.

config_api, policy and relay run as processes, on SQLite and then on PostgreSQL with fsync. The list is made in batches
of 100,000, the largest number in one request. The time of each batch is measured from the request until policy and
relay use it. The same is measured for a single recipient, when the list has 100,000 and when it has 1,000,000. The CPU
time is that of all three processes. It hardly depends on other load on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.configuration import IN_FORCE, gateway
from bench.processes import cpu_seconds, memory_octets
from tests.peers.postgres import Postgres

BATCH = 100_000
DOMAIN = "listed.example"
# A batch may take long on a busy machine.
_ANSWER_SECONDS = 600.0
_PAUSE_SECONDS = 0.02
# The services that report which revision they use.
_CONSUMERS = ("policy", "relay")


@dataclass(frozen=True, slots=True)
class Cost:
    """The times of one change in seconds: until its answer, until it was in force, and the CPU time."""

    answered: float
    in_force: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures for the present length of the list. `memory` is in octets, by service."""

    listed: int
    batches: list[Cost]
    single: list[Cost]
    memory: Mapping[str, int]

    def row(self, database: str) -> str:
        last = self.batches[-1]
        cells = (
            database,
            f"{self.listed:,}",
            f"{last.answered:.1f} s, {last.in_force:.1f} s, {last.cpu:.1f} s",
            f"{sum(batch.in_force for batch in self.batches):.1f} s",
            ", ".join(
                map(_milliseconds, ([each.in_force for each in self.single], [each.cpu for each in self.single]))
            ),
            ", ".join(f"{octets / 1e6:.0f} MB" for octets in self.memory.values()),
        )
        return f"| {' | '.join(cells)} |"


def _milliseconds(costs: list[float]) -> str:
    return f"{statistics.median(costs) * 1000:.0f} ms"


class Gateway:
    """The processes of config_api, policy and relay, and a client of the API."""

    def __init__(self, pids: Mapping[str, int], api: httpx.AsyncClient) -> None:
        self._pids = pids
        self._api = api

    async def post(self, path: str, body: Any) -> Cost:
        """Sends one change, and waits until policy and relay use it."""
        cpu, began = self._cpu(), time.perf_counter()
        answer = await self._api.post(path, json=body, timeout=_ANSWER_SECONDS)
        answered = time.perf_counter() - began
        answer.raise_for_status()
        if answer.headers[IN_FORCE] != "true":
            await self._until_in_force()
        return Cost(answered, time.perf_counter() - began, self._cpu() - cpu)

    async def _until_in_force(self) -> None:
        newest = (await self._api.get("/v1/revisions", params={"limit": 1})).json()["items"][0]["number"]
        while True:
            services = (await self._api.get("/v1/status")).json()["services"]
            if all((each["revision"] or 0) >= newest for each in services if each["service"] in _CONSUMERS):
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    def _cpu(self) -> float:
        return sum(map(cpu_seconds, self._pids.values()))

    @property
    def memory(self) -> dict[str, int]:
        return {service: memory_octets(pid) for service, pid in self._pids.items()}


def _batch(first: int) -> dict[str, Any]:
    addresses = [f"some.body{number}@{DOMAIN}" for number in range(first, first + BATCH)]
    return {"operations": [{"action": "create", "object": {"address": address}} for address in addresses]}


async def measure(name: str, url: str, folder: Path, length: int, changes: int) -> None:
    """Prints a row when the list has BATCH recipients, and a row when it has all recipients."""
    async with gateway(url, folder) as (pids, api):
        running = Gateway(pids, api)
        await running.post("/v1/relay-domains", {"domain": DOMAIN, "recipients": "list"})
        batches: list[Cost] = []
        for first in range(0, length, BATCH):
            batches.append(await running.post("/v1/recipients:batch", _batch(first)))
            listed = first + BATCH
            if listed in (BATCH, length):
                # Each change adds one more recipient.
                single = [
                    await running.post("/v1/recipients", {"address": f"one{listed}.{number}@{DOMAIN}"})
                    for number in range(changes)
                ]
                print(Figures(listed, batches, single, running.memory).row(name), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=1_000_000, help="recipients at the end, a multiple of 100000")
    parser.add_argument("--changes", type=int, default=20, help="single recipients that are made (20)")
    parser.add_argument("--sqlite", action="store_true", help="leave PostgreSQL out")
    given = parser.parse_args()
    print(
        "| database | listed | the last batch: answered, in force, CPU time | all batches in force "
        "| one recipient: in force, CPU time | memory of config_api, policy, relay |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        await measure("SQLite", f"sqlite:///{folder}/config.sqlite3", Path(folder), given.length, given.changes)
    if given.sqlite:
        return
    with Postgres(durable=True) as server, tempfile.TemporaryDirectory() as folder:
        await measure("PostgreSQL", server.create_database(), Path(folder), given.length, given.changes)


if __name__ == "__main__":
    asyncio.run(main())
