"""The life cycle of peers: a daemon as a child process, or a scripted server in this process.

Both are context managers.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import ssl
import tempfile
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.background import background
from tests.peers.ports import LOOPBACK, free_port, listening_socket
from tests.peers.process import PeerProcess


class Peer(ABC):
    """A server that starts when its `with` block is entered and ends when the block is left."""

    @abstractmethod
    def start(self) -> Self: ...

    @abstractmethod
    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Daemon(Peer):
    """A real server's process on a free loopback port. `stop` removes its folder."""

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix=f"posthouse-{name}-"))
        self._process: PeerProcess | None = None

    def start(self) -> Self:
        self._process = self._launch()
        self._process.until_ready(self._answers)
        return self

    def stop(self) -> None:
        """Ends the server permanently."""
        self.kill()
        self._forget()

    def kill(self) -> None:
        """Ends the server with SIGKILL. Connections are refused until `start`."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stops the processes (SIGSTOP).

        The kernel accepts connections and keeps them open, but nothing is answered until `thaw`.
        """
        if self._process is not None:
            self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGCONT)

    def ensure_running(self) -> None:
        """Makes the server work again after a test has killed or frozen it."""
        self.thaw()
        if self._process is None or not self._process.running:
            self.start()

    def _forget(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @abstractmethod
    def _launch(self) -> PeerProcess:
        """Starts the process."""

    @abstractmethod
    def _answers(self) -> bool:
        """Returns whether the server is ready."""


class ScriptedServer(Peer):
    """A TCP server in the background event loop that follows a test's script.

    The condition variable `_changed` protects the data that the test and the server share.
    """

    def __init__(self, host: str = LOOPBACK, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port or free_port(host)
        self._changed = threading.Condition()
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> Self:
        background().call(self._start())
        return self

    def stop(self) -> None:
        """Refuses connections and ends the existing ones. `start` listens on the same port again."""
        background().call(self._stop())

    async def _start(self) -> None:
        if self._server is None:
            listener = listening_socket(self.host, self.port)
            self._server = await asyncio.start_server(self._session, sock=listener, ssl=self._context)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection. The connection is closed when this method returns."""
