"""`python -m bench.config_watch`: the configuration's watch with 100,000 accounts and 10,000 access rules.

Measures, on SQLite and on PostgreSQL with fsync: from process start to ready, the first snapshot, from a change to a
watcher's whole new snapshot (on PostgreSQL also through another replica), and the process's memory. Wall-clock time is
what a watcher waits; CPU time is what the service needs for it, which another load on the machine does not change.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from posthouse.config.v1 import config_pb2 as pb
from posthouse.config.v1 import config_pb2_grpc

from libs.runtime import rpc
from libs.runtime.security import Security
from services.config_api.resources.access_rules import ACCESS_RULES
from services.config_api.resources.accounts import ACCOUNTS
from services.config_api.storage.database import Database
from services.config_api.storage.documents import Store
from services.config_api.storage.revision import Actor, Write
from tests.peers.ports import free_port
from tests.peers.postgres import Postgres

KEY = "the admin key of the benchmark"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$LaHH7/pTt+weEekoerUZOg$Lf1F7EQj6E8Ei1kB7j4/W32Dsq7Bm7aW7uLesneQBew"
BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds, megabytes."""

    database: str
    fill: float
    ready: float
    ready_cpu: float
    first: float
    first_megabytes: float
    parts: int
    changes: tuple[float, ...]
    change_cpu: float
    # Through another replica.
    elsewhere: tuple[float, ...]
    elsewhere_cpu: float
    unchanged: float
    memory_ready: float
    memory_after: float

    def row(self) -> str:
        cells = (
            self.database,
            f"{self.ready:.1f} s ({self.ready_cpu:.1f} s)",
            f"{self.first:.2f} s ({self.first_megabytes:.0f} MB in {self.parts} parts)",
            _waits(self.changes, self.change_cpu),
            _waits(self.elsewhere, self.elsewhere_cpu) if self.elsewhere else "",
            f"{1000 * self.unchanged:.0f} ms",
            f"{self.memory_ready:.0f} MB, {self.memory_after:.0f} MB",
        )
        return f"| {' | '.join(cells)} |"


def _waits(times: tuple[float, ...], cpu: float) -> str:
    return f"{statistics.median(times):.2f} s (slowest {max(times):.2f}; {cpu:.3f} s)"


async def fill(url: str, accounts: int, rules: int) -> float:
    """Writes the objects as revisions of BATCH each; seconds."""
    began = time.monotonic()
    database = Database(url)
    await database.open()
    store = Store(database)
    writes = [
        Write(
            ACCOUNTS,
            store.identifiers.new(),
            None,
            {
                "login": f"user{number}",
                "addresses": [f"user{number}@ours.example"],
                "enabled": True,
                "password": HASH,
            },
        )
        for number in range(accounts)
    ] + [
        Write(
            ACCESS_RULES,
            store.identifiers.new(),
            None,
            {
                "name": "",
                "list": "block",
                "criterion": "sender",
                "value": f"spam{number}@elsewhere.example",
                "action": "reject",
                "mode": "enforce",
                "expires_at": None,
            },
        )
        for number in range(rules)
    ]
    for start in range(0, len(writes), BATCH):
        async with store.revision(Actor("benchmark", "admin"), "fill") as revision:
            await revision.apply(writes[start : start + BATCH])
    await database.close()
    return time.monotonic() - began


@asynccontextmanager
async def service(url: str, folder: Path) -> AsyncIterator[tuple[int, int, str, float]]:
    """config_api as a process: (pid, HTTP port, gRPC address, seconds until ready)."""
    http_port = free_port()
    # Two processes share the folder.
    listen = f"unix:{folder / 'run' / str(http_port)}.sock"
    environment = {
        **os.environ,
        "POSTHOUSE_DATA_DIR": str(folder),
        "CONFIG_API_DATABASE_URL": url,
        "CONFIG_API_ADMIN_KEY": KEY,
        "CONFIG_API_PORT": str(http_port),
        "CONFIG_API_GRPC_LISTEN": listen,
        "CONFIG_API_LOG_LEVEL": "warning",
    }
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.config_api", env=environment)
    try:
        async with httpx.AsyncClient() as client:
            while True:
                try:
                    if (await client.get(f"http://127.0.0.1:{http_port}/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
        yield process.pid, http_port, listen, time.monotonic() - began
    finally:
        process.terminate()
        await process.wait()


async def whole(call: Any) -> tuple[int, int, bytes]:
    """(parts, octets, digest) of the next snapshot."""
    parts = octets = 0
    async for part in call:
        parts += 1
        octets += part.ByteSize()
        if part.last:
            return parts, octets, part.digest
    raise RuntimeError("the watch ended")


def resident(pid: int) -> float:
    """Resident memory in MB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def processor_seconds(pid: int) -> float:
    """CPU time used so far, user and system: what another load on the machine does not change."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(name: str, url: str, folder: Path, accounts: int, rules: int, changes: int) -> Result:
    filled = await fill(url, accounts, rules)
    async with (
        service(url, folder) as (pid, http_port, listen, ready),
        rpc.channel(listen, Security(), "config_api") as channel,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{http_port}", headers={"Authorization": f"Bearer {KEY}"}, timeout=60
        ) as api,
    ):
        memory_ready, ready_cpu = resident(pid), processor_seconds(pid)
        stub = config_pb2_grpc.ConfigurationStub(channel)
        call = stub.WatchPolicy(pb.WatchRequest(consumer="benchmark"))
        began = time.monotonic()
        parts, octets, digest = await whole(call)
        first = time.monotonic() - began
        again = stub.WatchPolicy(pb.WatchRequest(consumer="benchmark", digest=digest))
        waiting = asyncio.ensure_future(whole(again))
        times, used = await change(api, call, pid, "here", changes)
        await waiting
        again.cancel()
        began = time.monotonic()
        await api.get("/v1/accounts", params={"login": "user5"})
        unchanged = time.monotonic() - began
        memory_after = resident(pid)
        elsewhere: list[float] = []
        elsewhere_cpu = 0.0
        if url.startswith("postgresql"):
            async with (
                service(url, folder) as (other, _, other_listen, _),
                rpc.channel(other_listen, Security(), "config_api") as other_channel,
            ):
                there = config_pb2_grpc.ConfigurationStub(other_channel).WatchPolicy(pb.WatchRequest())
                await whole(there)
                elsewhere, elsewhere_cpu = await change(api, there, other, "there", changes)
                there.cancel()
        call.cancel()
        return Result(
            database=name,
            fill=filled,
            ready=ready,
            ready_cpu=ready_cpu,
            first=first,
            first_megabytes=octets / 1e6,
            parts=parts,
            changes=tuple(times),
            change_cpu=used,
            elsewhere=tuple(elsewhere),
            elsewhere_cpu=elsewhere_cpu,
            unchanged=unchanged,
            memory_ready=memory_ready,
            memory_after=memory_after,
        )


async def change(api: httpx.AsyncClient, call: Any, watched: int, mark: str, changes: int) -> tuple[list[float], float]:
    """Seconds from before each request to the watcher's whole snapshot; the watched process's CPU time for one."""
    account = (await api.get("/v1/accounts", params={"login": "user5"})).json()["items"][0]
    times = []
    used = processor_seconds(watched)
    for number in range(changes):
        patch = {"addresses": [f"{mark}-{number}@ours.example"]}
        # The commit and its answer are part of the wait.
        began = time.monotonic()
        answer = await api.patch(f"/v1/accounts/{account['id']}", json=patch, headers={"If-Match": "*"})
        answer.raise_for_status()
        await whole(call)
        times.append(time.monotonic() - began)
    return times, (processor_seconds(watched) - used) / changes


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=10)
    given = parser.parse_args()
    print(f"{given.accounts:,} accounts, {given.rules:,} access rules, {given.changes} changes of one account.\n")
    print("In brackets CPU time of the process; memory when ready and after the changes.")
    print(
        "| database | start to ready | first snapshot | change to whole snapshot | the same through another replica "
        "| look-up by login | memory |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/config.sqlite3"
        print(
            (await measure("SQLite", url, Path(folder), given.accounts, given.rules, given.changes)).row(), flush=True
        )
    with Postgres(durable=True) as server, tempfile.TemporaryDirectory() as folder:
        url = server.create_database()
        found = await measure("PostgreSQL", url, Path(folder), given.accounts, given.rules, given.changes)
        print(found.row(), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
