"""The notifications of a process to systemd, over a real datagram socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.runtime import lifecycle, service_manager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(60)
        monkeypatch.setenv(service_manager.SOCKET_VARIABLE, str(tmp_path / "notify"))
        yield receiver


def test_the_watchdog_gets_signals_while_the_event_loop_runs(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(service_manager.WATCHDOG_VARIABLE, "3000")

    async def live() -> list[bytes]:
        feeder = asyncio.create_task(service_manager.tell_alive_for_ever())
        notices = [await asyncio.to_thread(manager.recv, 100) for _ in range(3)]
        feeder.cancel()
        return notices

    assert asyncio.run(live()) == [service_manager.ALIVE.encode()] * 3


@pytest.mark.parametrize("value", ["", "0", "soon"])
def test_without_a_watchdog_nothing_is_sent(
    value: str, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(service_manager.WATCHDOG_VARIABLE, value)
    asyncio.run(service_manager.tell_alive_for_ever())
    service_manager.tell_ready()
    assert manager.recv(100) == service_manager.READY.encode()


def test_f63_a_process_that_needs_longer_to_end_asks_the_service_manager_for_more_time(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F63: the timer with which the process ends itself by force waits as long as the service manager does."""
    forced_after: list[float] = []
    monkeypatch.setattr(lifecycle, "end_after", forced_after.append)

    async def told_to_end(needs: float) -> bytes:
        shutdown = lifecycle.Shutdown(120)
        shutdown.allow(needs)
        shutdown.request("SIGTERM")
        return await asyncio.to_thread(manager.recv, 100)

    for needs, seconds in ((200.0, 200), (40.0, 120)):
        notice = f"{service_manager.STOPPING}\n{service_manager.EXTEND_TIMEOUT}{seconds * 1_000_000}"
        assert asyncio.run(told_to_end(needs)) == notice.encode()
    assert forced_after == [200, 120]
