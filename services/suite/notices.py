"""Receives what the services tell `posthouse up` about their state, in the way of systemd (sd_notify(3))."""

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
# The sender's process, user and group, as the kernel knows them.
_CREDENTIALS = struct.Struct("3i")


class Notices:
    """A datagram socket. A notice counts for the child in whose session its sender is: each child leads one (F15).

    So neither another suite nor anybody else can speak for a child, and the workers of a child can.
    """

    def __init__(self, on_ready: Callable[[int], None], on_more_time: Callable[[int, float], None]) -> None:
        """The first argument is the process id of the child; `on_more_time` is told how many seconds it needs."""
        self._on_ready = on_ready
        self._on_more_time = on_more_time
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # A name in the kernel's own name space: nothing is left behind, and no folder's name can be too long.
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
                # A process that has ended meanwhile has no session any more.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    self._take(os.getsid(sender), notice.decode("ascii", "replace"))

    def _take(self, child: int, notice: str) -> None:
        for line in notice.splitlines():
            if line == READY:
                self._on_ready(child)
            elif line.startswith(EXTEND_TIMEOUT):
                with contextlib.suppress(ValueError):
                    self._on_more_time(child, int(line.removeprefix(EXTEND_TIMEOUT)) / 1e6)
