"""`python -m services.relay`: on which processors it runs, and what it says when it cannot start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from libs.runtime import processors
from tests.relay.relay_process import ROOT, RelayProcess


async def test_relay_runs_on_one_processor_except_the_threads_of_the_queue(tmp_path: Path) -> None:
    everywhere = processors.usable()
    relay = RelayProcess(
        tmp_path, f"sqlite:///{tmp_path}/queue.sqlite3", 25, environment={"RELAY_CPUS": str(everywhere[-1])}
    )
    await relay.start()
    try:
        places = {tuple(sorted(os.sched_getaffinity(thread))) for thread in relay.threads()}
        assert tuple(sorted(os.sched_getaffinity(relay.pid))) == everywhere[-1:]
        assert places == {everywhere, everywhere[-1:]}
    finally:
        assert relay.terminate() == 0


def test_a_missing_processor_is_reported_in_one_line(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
        "POSTHOUSE_DATA_DIR": str(tmp_path),
        "RELAY_CPUS": "99999",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "services.relay"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "RELAY_CPUS: can't run on 99999" in (ended.stdout + ended.stderr).splitlines()[-1]
