"""Receives the reports of the services about their state for `posthouse up`, in the way of systemd (sd_notify(3))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import struct
from collections.abc import Callable

from libs.runtime.service_manager import EXTEND_TIMEOUT, READY

_LONGEST_NOTICE = 4096
# The process, the user and the group of the sender, from the kernel.
_CREDENTIALS = struct.Struct("3i")


class Notices:
    """A datagram socket. Each child leads a session. A notice counts for the child in whose session the sender is
    (F15). So the workers of a child can send its notices, and other suites or users cannot.
    """

    def __init__(self, on_ready: Callable[[int], None], on_more_time: Callable[[int, float], None]) -> None:
        """Both callables get the process id of the child first. `on_more_time` also gets the seconds that it
        needs.
        """
        self._on_ready = on_ready
        self._on_more_time = on_more_time
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # The name is in the kernel's abstract name space, so no file remains, and the path of a folder cannot be too
        # long.
        name = f"posthouse-{secrets.token_hex(16)}"
        self._socket.bind(f"\0{name}")
        self.address = f"@{name}"
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        try:
            notice, ancillary, *_ = self._socket.recvmsg(_LONGEST_NOTICE, socket.CMSG_SPACE(_CREDENTIALS.size))
        except OSError:
            return
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                sender, *_ = _CREDENTIALS.unpack(content)
                # A process that has already ended has no session any more.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    self._take(os.getsid(sender), notice.decode("ascii", "replace"))

    def _take(self, child: int, notice: str) -> None:
        for line in notice.splitlines():
            if line == READY:
                self._on_ready(child)
            elif line.startswith(EXTEND_TIMEOUT):
                with contextlib.suppress(ValueError):
                    self._on_more_time(child, int(line.removeprefix(EXTEND_TIMEOUT)) / 1e6)
