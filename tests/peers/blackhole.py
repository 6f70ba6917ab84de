"""An address where connections are neither accepted nor refused, as behind a firewall that drops packets."""

from __future__ import annotations

import select
import socket
from types import TracebackType
from typing import Self

from tests.peers.ports import LOOPBACK, free_port

# Linux lets one more connection wait than the backlog says. Further connections get no answer to their SYN.
_FILLERS = 8


class Blackhole:
    """Listens on `host`:`port` and leaves every connection attempt unanswered until it is stopped."""

    def __init__(self, host: str = LOOPBACK, port: int = 0) -> None:
        self.host = host
        self.port = port or free_port(host)
        self._sockets: list[socket.socket] = []

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> Self:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(0)
        self._sockets.append(listener)
        # Nobody accepts these connections, so they fill the queue. The kernel drops every later connection attempt.
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((self.host, self.port))
            self._sockets.append(filler)
            _, connected, _ = select.select([], [filler], [], 0.05)
            if not connected:
                return self
        raise RuntimeError("the kernel still accepts connections although the queue should be full")

    def stop(self) -> None:
        for taken in self._sockets:
            taken.close()
        self._sockets.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
