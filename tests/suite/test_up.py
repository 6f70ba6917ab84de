"""The suite keeps its services running, accepts only their notifications, and claims its ports and its folder."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.runtime import service_manager
from services.suite import children, claims, up
from services.suite.notices import Notices
from services.suite.output import ConsoleOutput
from services.suite.topology import Process
from services.suite.up import Suite, SuiteError
from tests.peers.ports import LOOPBACK, free_port
from tests.peers.suite import ROOT


def config_api(folder: Path, name: str = "config_api", **environment: str) -> Process:
    """Returns a process of config_api, which needs no other service to be ready."""
    ports = {"CONFIG_API_PORT": free_port()}
    settings = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
        "POSTHOUSE_DATA_DIR": str(folder),
        "CONFIG_API_GRPC_LISTEN": f"{LOOPBACK}:0",
        **{variable: str(port) for variable, port in ports.items()},
    }
    return Process(
        "config_api", name, LOOPBACK, ports, {**os.environ, **settings, **environment}, listen_hosts=(LOOPBACK,)
    )


@asynccontextmanager
async def made(folder: Path, *processes: Process) -> AsyncIterator[tuple[Suite, list[str]]]:
    """A suite that is not started, and the lines that it shows."""
    lines: list[str] = []
    suite = Suite(processes, folder, ConsoleOutput(lines.append, 10))
    try:
        async with asyncio.timeout(100):
            yield suite, lines
    finally:
        await suite.stop()


async def until(condition: Callable[[], bool], suite: Suite) -> None:
    while not condition():
        assert not any(keeper.done() for keeper in suite._keepers)
        await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "_FIRST_PAUSE_SECONDS", 0.01)


async def test_a_service_that_dies_is_started_again(tmp_path: Path) -> None:
    """A process that dies after it was ready is started again each time, even if the suite has no other process."""
    async with made(tmp_path, config_api(tmp_path)) as (suite, lines):
        await suite.start()
        child = suite.children[0]
        for number in (1, 2):
            before = child.pid
            os.kill(before, signal.SIGKILL)
            await until(lambda before=before: child.pid != before and child.ready.is_set(), suite)  # type: ignore[misc]
            assert int((suite.run_folder / "config_api.pid").read_text()) == child.pid
            ended = "posthouse: config_api ended with signal 9; it is started again in 0.01 s\n"
            assert lines.count(ended) == number


async def test_a_service_that_never_becomes_ready_ends_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "MAX_FAILED_STARTS", 3)
    broken = config_api(tmp_path, CONFIG_API_DATABASE_URL="mysql://nowhere/none")
    async with made(tmp_path, broken) as (suite, lines):
        with pytest.raises(SuiteError, match=r"(?s)3 times in a row .* with status 1\. .*must begin with sqlite"):
            await suite.start()
        assert [line.rpartition(" ")[0] for line in lines if "started again" in line] == [
            "posthouse: config_api ended with status 1; it is started again in 0.01",
            "posthouse: config_api ended with status 1; it is started again in 0.02",
        ]


async def test_wrong_settings_end_the_suite_at_once(tmp_path: Path) -> None:
    broken = config_api(tmp_path, CONFIG_API_LOG_LEVEL="nonsense")
    async with made(tmp_path, broken) as (suite, lines):
        with pytest.raises(SuiteError, match=r"(?s)ended with status 2\. .*CONFIG_API_LOG_LEVEL=nonsense"):
            await suite.start()
        assert not any("started again" in line for line in lines)


async def test_a_second_suite_on_the_folder_is_refused_and_the_first_is_unaffected(tmp_path: Path) -> None:
    """Case F15 of docs/cases.md describes this behaviour."""
    async with made(tmp_path, config_api(tmp_path)) as (first, _):
        await first.start()
        pid = first.children[0].pid
        async with made(tmp_path, config_api(tmp_path)) as (second, _):
            with pytest.raises(SuiteError, match=f"another suite .process {os.getpid()}. runs on {tmp_path}"):
                await second.start()
        assert first.children[0].runs
        assert int((first.run_folder / "config_api.pid").read_text()) == pid
    async with made(tmp_path, config_api(tmp_path)) as (third, _):
        await third.start()


async def test_a_port_in_use_is_reported_with_its_variable_before_anything_starts(tmp_path: Path) -> None:
    """F15: the start is refused even when the other process allows the port to be shared."""
    process = config_api(tmp_path / "here")
    port = process.ports["CONFIG_API_PORT"]
    with socket.create_server((LOOPBACK, port), reuse_port=True):
        async with made(tmp_path / "here", process) as (suite, _):
            with pytest.raises(SuiteError, match=rf"127.0.0.1 port {port} \(CONFIG_API_PORT\): Address already in use"):
                await suite.start()
            assert not suite.children[0].pid


def test_the_error_for_a_port_that_needs_a_privilege_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "unavailable_reason", lambda *_: os.strerror(errno.EACCES))
    with pytest.raises(claims.ClaimError, match=r"CONFIG_API_PORT\): Permission denied; ports below 1024 need"):
        claims.check_ports([config_api(tmp_path)])
    monkeypatch.setattr(claims, "unavailable_reason", lambda *_: os.strerror(errno.EADDRINUSE))
    with pytest.raises(claims.ClaimError, match=r"Address already in use$"):
        claims.check_ports([config_api(tmp_path)])


async def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with made(tmp_path / "file", config_api(tmp_path)) as (suite, _):
        with pytest.raises(SuiteError, match="can't be written"):
            await suite.start()


# These processes run until their standard input ends, so that they still exist when the suite reads the notification.
_TELLS = "import sys; from libs.runtime import service_manager; service_manager.{}; sys.stdin.read()"
_WORKER_TELLS = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_TELLS.format('tell_ready()')!r}])"


@pytest.mark.parametrize(
    ("code", "leads_a_session", "told"),
    [
        (_TELLS.format("tell_ready()"), True, "ready"),
        (_WORKER_TELLS, True, "ready"),
        (_TELLS.format("tell_stopping(200)"), True, "200.0 s"),
        (_TELLS.format("tell_ready()"), False, "ready"),
    ],
    ids=["a child", "a worker of a child", "a child that stops", "another process"],
)
async def test_only_notifications_of_a_child_and_its_workers_are_accepted(
    code: str, leads_a_session: bool, told: str
) -> None:
    """F15: no other process can report that a service is ready. F63: a child reports the time that it needs to end."""
    heard: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    notices = Notices(
        lambda pid: heard.set_result((pid, "ready")),
        lambda pid, seconds: heard.set_result((pid, f"{seconds} s")),
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        env={**os.environ, service_manager.SOCKET_VARIABLE: notices.address},
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        start_new_session=leads_a_session,
    )
    try:
        async with asyncio.timeout(60):
            # If the process does not lead its session, the notification counts as one of the session's leader, which is
            # not a child of the suite.
            assert await heard == (process.pid if leads_a_session else os.getsid(0), told)
    finally:
        await process.communicate(b"")
        notices.close()


async def test_a_child_gets_the_time_that_it_asks_for(tmp_path: Path) -> None:
    """Case F63 of docs/cases.md describes this behaviour."""
    async with made(tmp_path, config_api(tmp_path)) as (suite, _):
        await suite.start()
        child = suite.children[0]
        suite._on_more_time(child.pid, 200)
        suite._on_more_time(os.getpid(), 300)
        assert child._stop_seconds == 200 + children._STOP_MARGIN_SECONDS
