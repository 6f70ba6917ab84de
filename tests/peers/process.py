"""Starts a peer's process so that it ends together with this process, and waits until a condition holds."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DEADLINE_SECONDS = 60.0
PAUSE_SECONDS = 0.01

# Linux sends the parent-death signal when the *thread* that forked ends. Therefore one thread, which lives as long as
# this process, starts every peer. Otherwise a peer would be killed when the short-lived worker thread that started it
# ends.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="peer-spawner")


class PeerError(Exception):
    """A peer did not start, or it ended. The message contains the tail of the peer's log."""


class MissingPeerError(PeerError):
    """A peer's program is not installed."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not installed: run make test, which installs them")


def program(name: str, *patterns: str) -> Path:
    """Returns the path of the program `name` from PATH or sbin, or the newest match of the glob `patterns`.

    Raises MissingPeerError.
    """
    for pattern in patterns:
        matches = sorted(Path("/").glob(pattern.lstrip("/")), key=_version_of)
        if matches:
            return matches[-1]
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if found is None:
        raise MissingPeerError(name)
    return Path(found)


def until(
    condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS, pause: float = PAUSE_SECONDS
) -> None:
    """Calls `condition` again and again until it returns true. Raises PeerError with `what` after `seconds`.

    Use this function for the state of other processes, which can only be polled. Within this process, wait for
    conditions and events instead.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise PeerError(f"this did not become true within {seconds:g} s: {what}")
        time.sleep(pause)


def unprivileged_user(*names: str) -> str | None:
    """Returns the first user of `names` (or nobody) that exists, or None when this process does not run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in (*names, "nobody") if name in known), None)


class PeerProcess:
    """One process of a peer, whose output goes to a file. It gets `end_signal` when our process dies in any way."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        log: Path,
        *,
        name: str = "",
        user: str | None = None,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        end_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.log = log
        self.name = name or Path(arguments[0]).name
        self._end_signal = end_signal
        # setpriv sets the death signal after it has changed the user (which clears the signal), and then executes the
        # program.
        launcher: list[str | Path] = [program("setpriv"), "--pdeathsig", end_signal.name.removeprefix("SIG")]
        if user is not None:
            group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
            launcher += ["--reuid", user, "--regid", group, "--init-groups"]
        # Our process may die before the death signal is set. Then the new process has another parent and exits.
        launcher += ["--", "/bin/sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"', str(os.getpid())]
        with log.open("ab") as output:
            self._running = _spawner.submit(
                subprocess.Popen,
                [*launcher, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=None if environment is None else dict(environment),
                # In its own session the peer does not get Ctrl-C from the terminal. Only our process gets it, and ends
                # the peers in order.
                start_new_session=True,
            ).result()

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def running(self) -> bool:
        return self._running.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal. It is None while the process runs."""
        return self._running.poll()

    def until_ready(
        self, ready: Callable[[], bool], seconds: float = DEADLINE_SECONDS, pause: float = PAUSE_SECONDS
    ) -> None:
        """Waits until `ready` returns true.

        Raises PeerError with the log's tail when the process ends or the time is over.
        """

        def ready_or_dead() -> bool:
            return not self.running or ready()

        try:
            until(ready_or_dead, f"{self.name} is ready", seconds, pause)
        except PeerError as error:
            self.kill()
            raise PeerError(f"{error}\n{self.log_tail()}") from None
        if not self.running:
            raise PeerError(f"{self.name} ended with status {self.status}\n{self.log_tail()}")

    def stop(self, seconds: float = DEADLINE_SECONDS) -> None:
        """Ends the process with its end signal, or with SIGKILL when it still runs after `seconds`."""
        self.signal(self._end_signal)
        if self._ends_within(seconds):
            self._running.wait()
        else:
            self.kill()

    def kill(self) -> None:
        """Ends the process with SIGKILL and waits until it has ended."""
        self.signal(signal.SIGKILL)
        self._running.wait(DEADLINE_SECONDS)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Waits until the process has ended by itself and returns its exit status. Raises PeerError."""
        if not self._ends_within(seconds):
            raise PeerError(f"{self.name} still runs after {seconds:g} s\n{self.log_tail()}")
        return self._running.wait()

    def _ends_within(self, seconds: float) -> bool:
        """Waits for the end of the process.

        The kernel reports it at once; the standard library would poll 20 times a second.
        """
        if self._running.poll() is not None:
            return True
        descriptor = os.pidfd_open(self._running.pid)
        try:
            return bool(select.select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._running.send_signal(number)

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text("utf-8", "backslashreplace").splitlines()[-lines:])


def run(
    arguments: Sequence[str | Path], *, user: str | None = None, folder: Path | None = None, seconds: float = 60
) -> str:
    """Runs a peer's tool to its end and returns its output. Raises PeerError with that output when the tool fails."""
    launcher: list[str | Path] = []
    if user is not None:
        group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
        launcher = [program("setpriv"), "--reuid", user, "--regid", group, "--init-groups", "--"]
    done = subprocess.run(
        [*launcher, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        timeout=seconds,
        check=False,
    )
    output = done.stdout.decode("utf-8", "backslashreplace")
    if done.returncode != 0:
        raise PeerError(f"{Path(arguments[0]).name} failed with status {done.returncode}\n{output}")
    return output


def descendants(pid: int) -> list[int]:
    """Returns the ids of the process's children, their children and so on, as they exist at this moment."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def runs(pid: int) -> bool:
    """Returns whether the process runs. A zombie that waits for its parent does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def send_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Sends the signal to each of these processes that still runs."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _version_of(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parts if part.isdigit())
