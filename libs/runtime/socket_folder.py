"""The folder of a Unix socket, whose permissions protect the socket: whoever can enter the folder may call every
method.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from libs.runtime.lifecycle import StartupError


def make(folder: Path) -> None:
    """Makes the folder with mode 0700 when it does not exist, and checks it. Raises StartupError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"the folder of Unix sockets {folder} cannot be made: {error.strerror}") from error
    check(folder)


def check(folder: Path) -> None:
    """Checks that the path is a folder of our user that nobody else can enter. Raises StartupError."""
    try:
        # A symbolic link is refused, because it could be changed later.
        status = folder.lstat()
    except OSError as error:
        raise StartupError(f"the folder of Unix sockets {folder} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise StartupError(f"{folder} must be a folder of mode 0700 for Unix sockets, and is not a folder")
    if status.st_uid != os.geteuid():
        raise StartupError(f"the folder of Unix sockets {folder} belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise StartupError(f"other users can enter the folder of Unix sockets {folder}: give it mode 0700")


class SocketLock:
    """A lock of the process that listens on a Unix socket. Without the lock, gRPC would take over a path that another
    process uses, without notice.
    """

    def __init__(self, path: Path) -> None:
        """Raises StartupError when another process has the lock."""
        self._descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise StartupError(f"cannot listen on {path}: another process does") from error

    def release(self) -> None:
        os.close(self._descriptor)
