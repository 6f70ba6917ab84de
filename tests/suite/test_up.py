"""Which deaths of a replica end the suite, and which are made good."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.suite.topology import Process
from services.suite.up import Suite
from tests.peers.ports import LOOPBACK, free_port
from tests.peers.suite import ROOT


def replica(name: str, folder: Path, **environment: str) -> Process:
    """One of policy that finds no config_api; it runs all the same."""
    settings = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
        "POSTHOUSE_DATA_DIR": str(folder / name),
        "POLICY_PORT": str(free_port()),
        "POLICY_METRICS_PORT": "0",
        "POLICY_CONFIG_TARGET": f"{LOOPBACK}:{free_port()}",
    }
    return Process("policy", name, LOOPBACK, {}, {**os.environ, **settings, **environment})


@asynccontextmanager
async def started(folder: Path, *replicas: Process) -> AsyncIterator[tuple[Suite, list[str]]]:
    lines: list[str] = []
    suite = Suite(replicas, folder, lines.append)
    suite.run_folder.mkdir(parents=True)
    for child in suite.children:
        await child.start()
    try:
        yield suite, lines
    finally:
        await suite.stop()


async def test_a_replica_that_is_killed_while_it_comes_up_is_started_again(tmp_path: Path) -> None:
    async with started(tmp_path, replica("policy", tmp_path), replica("policy-2", tmp_path)) as (suite, lines):
        watching = asyncio.create_task(suite.failed())
        file = suite.run_folder / "policy.pid"
        before = file.read_text()
        os.kill(int(before), signal.SIGKILL)
        async with asyncio.timeout(60):
            while not file.exists() or file.read_text() in ("", before):
                assert not watching.done()
                await asyncio.sleep(0.01)
        assert "posthouse: policy ended with signal 9; it is started again" in lines
        watching.cancel()


async def test_a_replica_that_fails_while_it_comes_up_ends_the_suite(tmp_path: Path) -> None:
    broken = replica("policy-2", tmp_path, POLICY_LOG_LEVEL="nonsense")
    async with started(tmp_path, replica("policy", tmp_path), broken) as (suite, _), asyncio.timeout(60):
        assert "policy-2 ended with status " in await suite.failed()
