"""Posthouse itself as real processes on free loopback ports, for tests of the whole and for benchmarks."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.runtime.security import service_dns_name
from services.suite.topology import LISTEN_VARIABLES, PORT_STEP, Process, lay_out
from tests.peers.ports import LOOPBACK, free_run
from tests.peers.process import DEADLINE_SECONDS, PeerError, PeerProcess, descendants, runs, send_all, until
from tests.peers.service_certificates import ServiceCertificates

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0

_ASK_SECONDS = 5.0
# Asking costs the service a session or a request each time.
_PAUSE_SECONDS = 0.05
# Each service's port variables; a replica's are PORT_STEP above the one before.
_PORTS: Mapping[str, tuple[str, ...]] = {
    "config_api": ("CONFIG_API_PORT", "CONFIG_API_METRICS_PORT"),
    "policy": ("POLICY_METRICS_PORT",),
    "relay": ("RELAY_METRICS_PORT",),
    "console": ("CONSOLE_PORT",),
    "ingress": ("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT", "INGRESS_METRICS_PORT"),
}
# Settings of another suite; and what would make each start compile every library anew, which takes seconds.
_NOT_HANDED_ON = ("POSTHOUSE_", "CONFIG_API_", "POLICY_", "RELAY_", "INGRESS_", "CONSOLE_", "PYTHONDONTWRITEBYTECODE")


class Suite:
    """The services, each replica a process of its own with a log of its own.

    `environment` wins over everything chosen here. With `by_command` they are started by `posthouse up`, as an
    operator does; then the death of one ends them all. Without it each can be killed and started again by its name:
    the service's, or `relay-2` for the second replica of relay. `cpus`: the processors among which the layout chooses,
    as `posthouse up` does; none: everybody runs everywhere, as is best beside other suites.
    `secured`: the services speak gRPC over TCP with certificates of their own, as on
    several machines, instead of over Unix sockets. `metrics`: each serves its metrics.
    `console`: whether the console runs too.
    `host`: where tests reach it. `command_prefix` runs each process, for example in a network namespace.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        nameservers: str = "",
        replicas: Mapping[str, int] | None = None,
        postgres_url: str = "",
        redis_url: str = "",
        by_command: bool = False,
        cpus: Sequence[int] = (),
        secured: bool = False,
        metrics: bool = True,
        console: bool = False,
        host: str = LOOPBACK,
        command_prefix: Sequence[str] = (),
    ) -> None:
        self.host = host
        self._command_prefix = tuple(command_prefix)
        self.folder = Path(tempfile.mkdtemp(prefix="posthouse-suite-"))
        self._by_command = by_command
        self._replicas = dict(replicas or {})
        self._postgres_url = postgres_url
        self._redis_url = redis_url
        self._metrics = metrics
        self.certificates = ServiceCertificates(self.folder / "tls") if secured else None
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_NOT_HANDED_ON)},
            "POSTHOUSE_DATA_DIR": str(self.folder),
            **{f"{service}_NAMESERVERS": nameservers for service in ("INGRESS", "POLICY", "RELAY") if nameservers},
            # The Internet of a test is on loopback, where mail must never go otherwise.
            "RELAY_PROHIBITED_NETWORKS": "",
            "INGRESS_WORKERS": "1",
            # A machine with much to do is no Redis that is away.
            "POLICY_STATE_SECONDS": "10",
            **self._choose_ports(),
            **({} if console else {"CONSOLE_PORT": "0"}),
            **self._secured_grpc(),
            **(environment or {}),
        }
        self.layout: Mapping[str, Process] = {
            process.name: process
            for process in lay_out(
                self.environment,
                self._replicas,
                sockets=self.folder / "run",
                postgres_url=postgres_url,
                redis_url=redis_url,
                cpus=cpus,
            )
        }
        self._processes: dict[str, PeerProcess] = {}
        self._client: httpx.Client | None = None

    # Running

    def start(self) -> Self:
        """Starts everything at once and returns when each is ready. Raises PeerError with the log of what is not."""
        if self._by_command:
            arguments = [sys.executable, "-m", "services", "up", *self._options()]
            self._processes["up"] = self._spawn("up", arguments, self.environment)
            # It asks each of them itself.
            self._processes["up"].until_ready(
                lambda: "posthouse is ready" in self.log("up"), READY_SECONDS, _PAUSE_SECONDS
            )
        else:
            for name in self.layout:
                self.start_service(name, wait=False)
            for name in self.layout:
                self.wait_until_ready(name)
        return self

    def stop(self) -> None:
        """Ends all as a Ctrl-C does, ingress first, and removes the data."""
        if self._client is not None:
            self._client.close()
        for name in ("up", *reversed(tuple(self.layout))):
            process = self._processes.get(name)
            if process is not None:
                send_all([process.pid, *descendants(process.pid)], signal.SIGCONT)
                process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            self.start()
            # It is up: from here on `__exit__` ends it.
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # One service

    def start_service(self, name: str, *, wait: bool = True) -> None:
        """Starts one that does not run, on its ports and data of before."""
        layout = self.layout[name]
        self._processes[name] = self._spawn(
            name, [sys.executable, "-m", f"services.{layout.service}"], layout.environment
        )
        if wait:
            self.wait_until_ready(name)

    def kill(self, name: str) -> None:
        """kill -9 of one service with all its workers; returns when it is gone."""
        pid = self.pid(name)
        family = [pid, *descendants(pid)]
        send_all(family, signal.SIGKILL)
        until(lambda: not any(map(runs, family)), f"{name} is gone")

    def terminate(self, name: str, seconds: float = DEADLINE_SECONDS) -> None:
        """SIGTERM to one service; returns when it has ended in its own time. Raises PeerError."""
        pid = self.pid(name)
        send_all([pid], signal.SIGTERM)
        until(lambda: not runs(pid), f"{name} ends after SIGTERM", seconds)

    def restart(self, name: str) -> None:
        """SIGTERM, and a start when it has ended."""
        self.terminate(name)
        self.start_service(name)

    def freeze(self, name: str) -> None:
        """SIGSTOP: its connections stay open and nothing is answered until `thaw`."""
        send_all([self.pid(name), *descendants(self.pid(name))], signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        send_all([self.pid(name), *descendants(self.pid(name))], signal.SIGCONT)

    def pid(self, name: str) -> int:
        if self._by_command:
            return int((self.folder / "run" / f"{name}.pid").read_text())
        return self._processes[name].pid

    def running(self, name: str) -> bool:
        return runs(self.pid(name))

    def wait_until_ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        """Asks the service until it says it can work. Raises PeerError with the tail of its log."""
        self._processes[name].until_ready(lambda: self.is_ready(name), seconds, _PAUSE_SECONDS)

    def is_ready(self, name: str) -> bool:
        """Whether it answers as its users would find it: /readyz, gRPC health, or a 220."""
        layout = self.layout[name]
        match layout.service:
            case "config_api":
                return self._api_ready(layout) and self._serving(layout)
            case "ingress":
                return self._greets(layout)
            case "console":
                return self._console_answers(layout)
            case _:
                return self._serving(layout)

    def log(self, name: str) -> str:
        """What one service has written so far; with `by_command` the only name is `up`."""
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", "backslashreplace") if path.exists() else ""

    @property
    def logs(self) -> str:
        """What all have written so far, one after the other."""
        return "\n".join(self.log(name) for name in ("up", *self.layout))

    # Where things are

    def port(self, variable: str, name: str = "") -> int:
        """The port of a variable, for example INGRESS_SMTP_PORT; `name` for a replica other than the first."""
        for process in self.layout.values():
            if variable in process.ports and name in ("", process.name):
                return process.ports[variable]
        raise KeyError(variable)

    @property
    def smtp_port(self) -> int:
        return self.port("INGRESS_SMTP_PORT")

    @property
    def submission_port(self) -> int:
        return self.port("INGRESS_SUBMISSION_PORT")

    @property
    def smtps_port(self) -> int:
        return self.port("INGRESS_SMTPS_PORT")

    @property
    def api_url(self) -> str:
        return f"http://{_bracketed(self.host)}:{self.port('CONFIG_API_PORT')}"

    @property
    def console_url(self) -> str:
        return f"http://{_bracketed(self.host)}:{self.port('CONSOLE_PORT')}"

    @property
    def admin_key(self) -> str:
        return (self.folder / "admin-key").read_text().strip()

    @property
    def api(self) -> httpx.Client:
        """A client of the HTTP API with the admin key: `suite.api.post("/v1/accounts", json={…})`."""
        if self._client is None:
            self._client = httpx.Client(base_url=self.api_url, headers=self._authorization(), timeout=60)
        return self._client

    def async_api(self) -> httpx.AsyncClient:
        """The same for an event loop; close it yourself (`async with`)."""
        return httpx.AsyncClient(base_url=self.api_url, headers=self._authorization(), timeout=60)

    # How it is done

    def _spawn(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> PeerProcess:
        return PeerProcess(
            [*self._command_prefix, *arguments],
            self.folder / f"{name}.log",
            name=name,
            folder=ROOT,
            environment={**environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
            end_signal=signal.SIGTERM,
        )

    def _choose_ports(self) -> dict[str, str]:
        chosen: dict[str, str] = {}
        for service, variables in _PORTS.items():
            first = free_run(self._replicas.get(service, 1) * PORT_STEP)
            chosen |= {
                variable: str(first + number)
                for number, variable in enumerate(variables)
                if self._metrics or not variable.endswith("_METRICS_PORT")
            }
        return chosen

    def _secured_grpc(self) -> dict[str, str]:
        """Ports of gRPC and certificates, where it is spoken over TCP."""
        if self.certificates is None:
            return {}
        variables = self.certificates.variables()
        for service, variable in LISTEN_VARIABLES.items():
            first = free_run(self._replicas.get(service, 1) * PORT_STEP)
            variables[variable] = f"{LOOPBACK}:{first}"
        return variables

    def channel(self, name: str, caller: str = "config_api") -> grpc.Channel:
        """A channel to a service; `caller`: whose certificate it shows, where certificates are used."""
        layout = self.layout[name]
        if self.certificates is None:
            return grpc.insecure_channel(layout.grpc)
        key, chain, authority = self.certificates.files(caller).read()
        credentials = grpc.ssl_channel_credentials(authority, key, chain)
        options = [("grpc.ssl_target_name_override", service_dns_name(layout.service))]
        return grpc.secure_channel(layout.grpc, credentials, options)

    def _options(self) -> list[str]:
        options: list[str] = []
        if self._replicas:
            options += ["--replicas", ",".join(f"{service}={count}" for service, count in self._replicas.items())]
        for option, url in (("--postgres", self._postgres_url), ("--redis", self._redis_url)):
            options += [option, url] if url else []
        return options

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.admin_key}"}

    def _api_ready(self, layout: Process) -> bool:
        with contextlib.suppress(httpx.TransportError):
            url = f"http://{_bracketed(layout.host)}:{layout.ports['CONFIG_API_PORT']}/readyz"
            # To put together what TLS needs, which is not asked for here, takes 20 ms.
            return httpx.get(url, timeout=_ASK_SECONDS, verify=False).status_code == 200
        return False

    def _console_answers(self, layout: Process) -> bool:
        with contextlib.suppress(httpx.TransportError):
            url = f"http://{_bracketed(layout.host)}:{layout.ports['CONSOLE_PORT']}/healthz"
            return httpx.get(url, timeout=_ASK_SECONDS, verify=False).status_code == 200
        return False

    def _serving(self, layout: Process) -> bool:
        with self.channel(layout.name, layout.service) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=_ASK_SECONDS
                )
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def _greets(self, layout: Process) -> bool:
        variables = ("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT")
        port = next(layout.ports[variable] for variable in variables if layout.ports[variable])
        with (
            contextlib.suppress(OSError),
            socket.create_connection((layout.host, port), timeout=_ASK_SECONDS) as connection,
            connection.makefile("rb") as replies,
        ):
            greeted = replies.readline().startswith(b"220")
            connection.sendall(b"QUIT\r\n")
            replies.read()
            return greeted
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


__all__ = ["READY_SECONDS", "PeerError", "Suite"]
