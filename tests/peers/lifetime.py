"""How peers live: as a daemon of our own, or as a scripted server in this process; both are context managers."""

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
    """Started on entry, ended on exit."""

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
    """A real server's process on a free loopback port, with a folder of its own that goes with it."""

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix=f"posthouse-{name}-"))
        self._process: PeerProcess | None = None

    def start(self) -> Self:
        self._process = self._launch()
        self._process.until_ready(self._answers)
        return self

    def stop(self) -> None:
        """Ends it for good."""
        self.kill()
        self._forget()

    def kill(self) -> None:
        """kill -9; connections are refused until `start`."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        """The kernel takes connections, those there are stay open, and nothing is answered until `thaw`."""
        if self._process is not None:
            self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGCONT)

    def ensure_running(self) -> None:
        """Brings it back when a test left it dead or frozen."""
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
        """Whether it is ready."""


class ScriptedServer(Peer):
    """A TCP server on the background loop that does as the test tells it. `_changed` guards what both sides touch."""

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
        """Refuses connections and ends those there are; `start` takes the same port again."""
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
        """One connection, until it is to be closed."""
