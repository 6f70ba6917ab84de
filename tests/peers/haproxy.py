"""HAProxy as a TCP load balancer that sends the client's address to its backends (PROXY protocol, version 2)."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import PeerProcess, program

_ASK_SECONDS = 30.0


class Haproxy:
    """Listens on a free loopback port and distributes connections over `backends` (host:port) in turn.

    When a backend refuses a connection, the next backend gets it. `source` is the address from which backends are
    called. `configuration` replaces our configuration; it is called with the port to listen on.
    """

    def __init__(
        self,
        backends: Sequence[str],
        *,
        host: str = LOOPBACK,
        proxy_protocol: bool = True,
        source: str = "",
        configuration: Callable[[int], str] | None = None,
    ) -> None:
        self.host = host
        self.port = free_port(host)
        self._given = configuration
        self._backends = tuple(backends)
        self._proxy_protocol = proxy_protocol
        self._source = source
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-haproxy-"))
        self._control = self._folder / "control"
        self._process: PeerProcess | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> Self:
        configuration = self._folder / "haproxy.cfg"
        given = None if self._given is None else self._given(self.port) + self._control_lines()
        configuration.write_text(given or self._configuration())
        self._process = PeerProcess(
            [program("haproxy"), "-db", "-f", configuration], self._folder / "log", folder=self._folder
        )
        self._process.until_ready(self._answers)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def drain(self, number: int) -> None:
        """Sends no new connections to the backend of this number; the first backend has number 1."""
        self.command(f"set server backends/backend{number} state drain")

    def undrain(self, number: int) -> None:
        self.command(f"set server backends/backend{number} state ready")

    def command(self, line: str) -> str:
        """Sends one line to HAProxy's control socket and returns the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ASK_SECONDS)
            connection.connect(str(self._control))
            connection.sendall(line.encode() + b"\n")
            with connection.makefile("rb") as answer:
                return answer.read().decode().strip()

    def _configuration(self) -> str:
        option = " send-proxy-v2" if self._proxy_protocol else ""
        if self._source:
            option += f" source {self._source}"
        servers = "\n".join(
            f"    server backend{number} {address}{option}" for number, address in enumerate(self._backends, 1)
        )
        return f"""{self._control_lines()}    maxconn 4000
defaults
    mode tcp
    timeout connect 2s
    timeout client 10m
    timeout server 10m
    retries 2
    option redispatch 1
frontend clients
    bind {self.host}:{self.port}
    default_backend backends
backend backends
    balance roundrobin
{servers}
"""

    def _control_lines(self) -> str:
        return f"\nglobal\n    stats socket {self._control} level admin\n"

    def _answers(self) -> bool:
        # The control socket shows whether HAProxy is ready. A connection to the port would open a session at a
        # backend.
        try:
            return "Uptime" in self.command("show info")
        except OSError:
            return False
