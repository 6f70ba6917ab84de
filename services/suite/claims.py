"""The exclusive resources of a suite, which are claimed before anything is started: its folder, and the ports of its
services (F15).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from libs.runtime.ports import unavailable_reason
from services.suite.topology import Process

_LOCK_FILE = "lock"


class ClaimError(Exception):
    """A resource is not available. The message tells the operator which one, and who uses it if that is known."""


class FolderLock:
    """The lock of a running suite on its folder. It ends with the process, whatever ends it."""

    def __init__(self, run_folder: Path) -> None:
        """Makes the folder if it does not exist, and locks it. Raises ClaimError when another suite uses it, or it
        cannot be written.
        """
        path = run_folder / _LOCK_FILE
        try:
            run_folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ClaimError(f"{error.filename} can't be written: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise ClaimError(
                f"another suite (process {holder or 'unknown'}) runs on {run_folder.parent}; "
                "stop it, or set POSTHOUSE_DATA_DIR to another folder"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._file)


def check_ports(processes: Sequence[Process]) -> None:
    """Checks that each service can listen at its ports. Raises ClaimError, which names the variables."""
    problems = [
        f"can't listen on {host} port {port} ({variable}): {reason}"
        for process in processes
        for variable, port in process.ports.items()
        if port
        for host in process.listen_hosts
        if (reason := unavailable_reason(host, port))
    ]
    if problems:
        is_refused = any(problem.endswith(os.strerror(errno.EACCES)) for problem in problems)
        hint = "ports below 1024 need the capability CAP_NET_BIND_SERVICE; units of `posthouse install systemd` have it"
        raise ClaimError("; ".join([*problems, *([hint] if is_refused else [])]))
