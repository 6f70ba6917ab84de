"""Measures config_api, policy and relay with 100,000 accounts and 10,000 access rules: `python -m bench.configuration`.

It measures, on SQLite and on PostgreSQL with fsync: the memory of the three processes, the time from a request to the
answer that its change is in force at policy and relay, the objects per second in a batch, and the time of PATCH with 20
clients at once. The CPU time is that of all three processes for one change. It hardly depends on other load on the
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.processes import cpu_seconds, memory_octets
from services.config_api.resources.access_rules import ACCESS_RULES
from services.config_api.resources.accounts import ACCOUNTS
from services.config_api.storage.database import Database
from services.config_api.storage.documents import Store
from services.config_api.storage.revision import Actor, Write
from tests.peers.ports import free_port
from tests.peers.postgres import Postgres

KEY = "the admin key of the benchmark"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$LaHH7/pTt+weEekoerUZOg$Lf1F7EQj6E8Ei1kB7j4/W32Dsq7Bm7aW7uLesneQBew"
FILL_BATCH = 10_000
BATCH = 5_000
CLIENTS = 20
SERVICES = ("config_api", "policy", "relay")
IN_FORCE = "posthouse-in-force"
ANY_VERSION = {"If-Match": "*"}


@dataclass(frozen=True, slots=True)
class Figures:
    """The results for one database. Times are in seconds, and `memory` is in octets, by service."""

    database: str
    account_changes: Sequence[float]
    rule_changes: Sequence[float]
    change_cpu: float
    batch_rates: Sequence[float]
    patches: Sequence[float]
    memory: dict[str, int]
    # The number of answers that said that the change was not in force yet.
    not_in_force: int

    def row(self) -> str:
        cells = (
            self.database,
            _milliseconds(self.account_changes),
            _milliseconds(self.rule_changes),
            f"{self.change_cpu * 1000:.0f} ms",
            f"{statistics.median(self.batch_rates):,.0f}/s",
            _milliseconds(self.patches),
            ", ".join(f"{octets / 1e6:.0f} MB" for octets in self.memory.values()),
            str(self.not_in_force),
        )
        return f"| {' | '.join(cells)} |"


def _milliseconds(times: Sequence[float]) -> str:
    median, last = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
    return f"{median * 1000:.0f} ms, p99 {last * 1000:.0f} ms"


async def fill(url: str, accounts: int, rules: int) -> None:
    """Writes the objects as revisions of FILL_BATCH each."""
    database = Database(url)
    await database.open()
    store = Store(database)
    writes = [Write(ACCOUNTS, store.identifiers.new(), None, _stored_account(number)) for number in range(accounts)]
    writes += [Write(ACCESS_RULES, store.identifiers.new(), None, _rule(number)) for number in range(rules)]
    for start in range(0, len(writes), FILL_BATCH):
        async with store.revision(Actor("benchmark", "admin"), "fill") as revision:
            await revision.apply(writes[start : start + FILL_BATCH])
    await database.close()


def _account(number: int) -> dict[str, Any]:
    return {"login": f"user{number}", "addresses": [f"user{number}@ours.example"]}


def _stored_account(number: int) -> dict[str, Any]:
    return {**_account(number), "enabled": True, "password": HASH}


def _rule(number: int) -> dict[str, Any]:
    return {
        "name": "",
        "list": "block",
        "criterion": "sender",
        "value": f"spam{number}@elsewhere.example",
        "action": "reject",
        "mode": "enforce",
        "expires_at": None,
    }


@asynccontextmanager
async def gateway(url: str, folder: Path) -> AsyncIterator[tuple[dict[str, int], httpx.AsyncClient]]:
    """Runs the three services as processes. Yields their process ids, and a client of the API, once all have a
    configuration.
    """
    ports = {name: free_port() for name in SERVICES}
    environment = {
        **os.environ,
        "POSTHOUSE_DATA_DIR": str(folder),
        "CONFIG_API_DATABASE_URL": url,
        "CONFIG_API_ADMIN_KEY": KEY,
        "CONFIG_API_PORT": str(ports["config_api"]),
        "CONFIG_API_MAX_REQUESTS_PER_KEY": str(CLIENTS),
        **{f"{name.upper()}_LOG_LEVEL": "warning" for name in SERVICES},
        **{f"{name.upper()}_METRICS_PORT": str(ports[name]) for name in ("policy", "relay")},
    }
    pids: dict[str, int] = {}
    async with AsyncExitStack() as stack:
        for name in SERVICES:
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", f"services.{name}", env=environment)
            stack.push_async_callback(_stop, process)
            pids[name] = process.pid
        base = f"http://127.0.0.1:{ports['config_api']}"
        limits = httpx.Limits(max_connections=CLIENTS)
        headers = {"Authorization": f"Bearer {KEY}"}
        api = await stack.enter_async_context(
            httpx.AsyncClient(base_url=base, headers=headers, timeout=60, limits=limits)
        )
        for port in ports.values():
            await _ready(api, f"http://127.0.0.1:{port}/readyz")
        yield pids, api


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    await process.wait()


async def _ready(api: httpx.AsyncClient, url: str) -> None:
    while True:
        try:
            if (await api.get(url)).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)


class Clock:
    """Measures how long requests take, and counts the answers that say that the change is not in force yet."""

    def __init__(self) -> None:
        self.not_in_force = 0

    async def time(self, request: Callable[[], Awaitable[httpx.Response]]) -> float:
        began = time.perf_counter()
        answer = await request()
        seconds = time.perf_counter() - began
        answer.raise_for_status()
        self.not_in_force += answer.headers[IN_FORCE] != "true"
        return seconds


async def measure(name: str, url: str, folder: Path, accounts: int, rules: int, changes: int) -> Figures:
    await fill(url, accounts, rules)
    clock = Clock()
    async with gateway(url, folder) as (pids, api):
        memory = {service: memory_octets(pid) for service, pid in pids.items()}
        used = sum(map(cpu_seconds, pids.values()))
        account = (await api.get("/v1/accounts", params={"login": "user5"})).json()["items"][0]["id"]
        account_changes = [
            await clock.time(lambda: _patch(api, account, {"addresses": [f"other{number}@ours.example"]}))  # noqa: B023
            for number in range(changes)
        ]
        change_cpu = (sum(map(cpu_seconds, pids.values())) - used) / changes
        rule_changes = [
            await clock.time(lambda: api.post("/v1/access-rules", json=_rule(rules + number)))  # noqa: B023
            for number in range(changes)
        ]
        patches = await _patch_at_once(api, clock, changes)
        rates = [BATCH / await clock.time(lambda: _batch(api, accounts + turn * BATCH)) for turn in range(5)]  # noqa: B023
        return Figures(name, account_changes, rule_changes, change_cpu, rates, patches, memory, clock.not_in_force)


async def _patch(api: httpx.AsyncClient, account: str, patch: dict[str, Any]) -> httpx.Response:
    return await api.patch(f"/v1/accounts/{account}", json=patch, headers=ANY_VERSION)


async def _patch_at_once(api: httpx.AsyncClient, clock: Clock, changes: int) -> list[float]:
    """Returns the times of PATCH requests of CLIENTS clients. Each client changes its own account, one request after
    the other.
    """
    page = (await api.get("/v1/accounts", params={"limit": CLIENTS})).json()["items"]

    # The clients connect before their changes are timed.
    await asyncio.gather(*(api.get("/v1/whoami") for _ in page))

    async def client(account: str) -> list[float]:
        return [
            await clock.time(lambda: _patch(api, account, {"enabled": number % 2 == 1}))  # noqa: B023
            for number in range(changes)
        ]

    times = await asyncio.gather(*(client(account["id"]) for account in page))
    return [seconds for of_client in times for seconds in of_client]


async def _batch(api: httpx.AsyncClient, first: int) -> httpx.Response:
    operations = [{"action": "create", "object": _account(first + number)} for number in range(BATCH)]
    return await api.post("/v1/accounts:batch", json={"operations": operations})


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--sqlite", action="store_true", help="leave PostgreSQL out")
    given = parser.parse_args()
    print(f"{given.accounts:,} accounts, {given.rules:,} access rules, {given.changes} changes of each kind.\n")
    print(
        "| database | time until a changed account is in force | until a new rule is | CPU time of a change | "
        f"accounts in a batch  | PATCH with {CLIENTS} clients | memory of config_api, policy, relay | changes not in "
        "force |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/config.sqlite3"
        figures = await measure("SQLite", url, Path(folder), given.accounts, given.rules, given.changes)
        print(figures.row(), flush=True)
    if given.sqlite:
        return
    with Postgres(durable=True) as server, tempfile.TemporaryDirectory() as folder:
        url = server.create_database()
        figures = await measure("PostgreSQL", url, Path(folder), given.accounts, given.rules, given.changes)
        print(figures.row(), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
