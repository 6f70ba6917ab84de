"""`posthouse up` as an operator uses it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime import processors
from tests.peers.process import until
from tests.peers.suite import ROOT, Suite

pytestmark = pytest.mark.e2e


def _environment(suite: Suite) -> dict[str, str]:
    return {**suite.environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}


def _runs(pid: int) -> bool:
    """Whether it still runs: a dead one that nobody waits for (a container's first process seldom does) is gone too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _up(suite: Suite) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "services", "up"],
        env=_environment(suite),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _until_welcome(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith("  stop"):
            return lines
    raise AssertionError("\n".join(lines))


@pytest.fixture
def empty_folder_suite() -> Suite:
    """Only its free ports and its folder are used; the command starts it."""
    return Suite()


def test_first_run_needs_no_configuration_and_ctrl_c_ends_all(empty_folder_suite: Suite) -> None:
    suite = empty_folder_suite
    with _up(suite) as process:
        lines = _until_welcome(process)
        key = suite.admin_key
        assert sum(key in line for line in lines) == 1, "the admin key is printed once"
        assert stat.S_IMODE((suite.folder / "admin-key").stat().st_mode) == 0o600
        assert suite.api.get("/v1/settings/general").status_code == 200
        by_name = {path.stem: int(path.read_text()) for path in (suite.folder / "run").glob("*.pid")}
        pids = list(by_name.values())
        assert len(pids) == 4
        cpus = processors.usable()
        kept = {name: tuple(sorted(os.sched_getaffinity(by_name[name]))) for name in ("ingress", "relay")}
        assert kept == ({"ingress": cpus[:1], "relay": cpus[1:2]} if len(cpus) > 1 else dict.fromkeys(kept, cpus))
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read() if process.stdout else ""
        assert process.wait() == 0, rest
    assert not any(_runs(pid) for pid in pids)
    with _up(suite) as process:
        lines = _until_welcome(process)
        assert not any(key in line for line in lines), "and never again"
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 0


def test_the_death_of_one_ends_all_with_the_reason(empty_folder_suite: Suite) -> None:
    suite = empty_folder_suite
    with _up(suite) as process:
        _until_welcome(process)
        os.kill(int((suite.folder / "run" / "policy.pid").read_text()), signal.SIGKILL)
        rest, _ = process.communicate()
        assert process.returncode == 1
        assert "policy ended with signal 9" in rest


def test_a_taken_port_is_said_in_one_line(empty_folder_suite: Suite) -> None:
    suite = empty_folder_suite
    with socket.create_server((suite.host, suite.smtp_port)), _up(suite) as process:
        output, _ = process.communicate()
    assert process.returncode == 1
    assert "can't listen" in output


def test_no_child_outlives_a_killed_parent(empty_folder_suite: Suite) -> None:
    suite = empty_folder_suite
    with _up(suite) as process:
        _until_welcome(process)
        pids = [int(path.read_text()) for path in (suite.folder / "run").glob("*.pid")]
        process.kill()
        process.communicate()
    until(lambda: not any(_runs(pid) for pid in pids), "the children are gone")


def test_replicas_without_something_to_share_are_refused() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "services", "up", "--replicas", "relay=2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "PostgreSQL" in answer.stderr


def test_the_demonstration_comes_out_right() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "services", "demo"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count("right") == 4
