"""Peers end with their owner, however it dies, and show why they ended. Each port belongs to only one process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.blackhole import Blackhole
from tests.peers.ports import free_address, free_port, free_ports, listening_socket
from tests.peers.process import MissingPeerError, PeerError, PeerProcess, descendants, program, run, runs, until

ROOT = Path(__file__).parents[2]


def script(text: str) -> subprocess.Popen[str]:
    """Starts another Python that can import the peers. Its output can be read."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_peer_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    owner = script(
        f"""
        from pathlib import Path
        from tests.peers.process import PeerProcess
        print(PeerProcess(["/bin/cat", "/dev/ptmx"], Path({str(tmp_path)!r}) / "log").pid, flush=True)
        input()
        """
    )
    pid = int(line_of(owner))
    assert runs(pid)
    owner.kill()
    owner.communicate()
    until(lambda: not runs(pid), "the peer has ended after its owner was killed")


def test_postfix_ends_when_its_owner_is_killed() -> None:
    owner = script(
        """
        from tests.peers.postfix import Postfix
        postfix = Postfix().start()
        print(postfix._process.pid, postfix._folder, flush=True)
        input()
        """
    )
    words = line_of(owner).split()
    pid, folder = int(words[0]), Path(words[1])
    family = [pid, *descendants(pid)]
    assert len(family) > 2
    owner.kill()
    owner.communicate()
    until(lambda: not any(map(runs, family)), "Postfix has ended after its owner was killed")
    until(lambda: not folder.exists(), "Postfix's folder is removed")


def test_a_peer_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[PeerProcess] = []
    thread = threading.Thread(target=lambda: started.append(PeerProcess(["/bin/cat", "/dev/ptmx"], tmp_path / "log")))
    thread.start()
    thread.join()
    with pytest.raises(PeerError, match="still runs"):
        started[0].wait(0.2)
    started[0].kill()
    assert started[0].status == -signal.SIGKILL


def test_a_peer_that_dies_early_shows_its_log(tmp_path: Path) -> None:
    process = PeerProcess(["/bin/sh", "-c", "echo out of cheese >&2; exit 3"], tmp_path / "log")
    with pytest.raises(PeerError, match="status 3\nout of cheese"):
        process.until_ready(lambda: False)
    process = PeerProcess(["/bin/sh", "-c", "echo wait for it; exec cat /dev/ptmx"], tmp_path / "log")
    with pytest.raises(PeerError, match=r"not become true within .*\n(.*\n)*wait for it"):
        process.until_ready(lambda: False, seconds=0.2)
    assert not process.running


def test_the_error_shows_the_output_of_a_failed_tool_or_how_to_install_a_missing_one() -> None:
    assert run(["/bin/echo", "fine"]) == "fine\n"
    with pytest.raises(PeerError, match="no such thing"):
        run(["/bin/sh", "-c", "echo no such thing; exit 1"])
    with pytest.raises(MissingPeerError, match="run make test, which installs them"):
        program("no-such-server-here")


@pytest.mark.parametrize("ask", [free_port, free_address])
def test_processes_get_different_ports_and_addresses(ask: Callable[[], object]) -> None:
    asking = (
        f"from tests.peers.ports import {ask.__name__} as ask; print(*(ask() for _ in range(150)), flush=True); input()"
    )
    others = [script(asking) for _ in range(2)]
    lines = [line_of(other).split() for other in others]
    own = [str(ask()) for _ in range(150)]
    for other in others:
        other.communicate("\n")
    given = [*own, *lines[0], *lines[1]]
    assert len(given) == len(set(given)) == 450


def test_ports_in_use_are_skipped() -> None:
    first = free_port()
    with listening_socket(port=first + 1) as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", first + 2))
        assert not {taken.getsockname()[1], first + 2} & set(free_ports(20))


def test_a_blackhole_neither_accepts_nor_refuses() -> None:
    with Blackhole(free_address()) as hole:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                socket.create_connection((hole.host, hole.port), timeout=0.1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((hole.host, hole.port), timeout=1)
