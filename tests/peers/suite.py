"""Posthouse itself as real processes on free loopback ports, for tests of the whole system and for benchmarks."""

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

from libs.runtime import addresses
from libs.runtime.addresses import TcpAddress
from libs.runtime.security import service_dns_name
from services.suite.topology import LISTEN_VARIABLES, PORT_STEP, Process, lay_out
from tests.peers.ports import LOOPBACK, accepts_connections, free_run
from tests.peers.process import DEADLINE_SECONDS, PeerError, PeerProcess, descendants, runs, send_all, until
from tests.peers.service_certificates import ServiceCertificates

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0

_ASK_SECONDS = 5.0
# The pause between two checks of readiness; each check costs the service a session or a request.
_PAUSE_SECONDS = 0.05
# The port variables of each service. The ports of a replica are PORT_STEP above those of the replica before it.
_PORTS: Mapping[str, tuple[str, ...]] = {
    "config_api": ("CONFIG_API_PORT", "CONFIG_API_METRICS_PORT"),
    "policy": ("POLICY_METRICS_PORT",),
    "relay": ("RELAY_METRICS_PORT",),
    "console": ("CONSOLE_PORT",),
    "ingress": ("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT", "INGRESS_METRICS_PORT"),
}
# Variables that the services do not inherit: the settings of another suite, and variables that would make Python
# compile every library again at each start.
_NOT_HANDED_ON = ("POSTHOUSE_", "CONFIG_API_", "POLICY_", "RELAY_", "INGRESS_", "CONSOLE_", "PYTHONDONTWRITEBYTECODE")


class Suite:
    """The services, each replica a process of its own with a log of its own.

    `environment` takes precedence over every setting that this class chooses. With `by_command`, `posthouse up` starts
    the services, as for an operator. Without it, each process can be killed and started again by its name: the name of
    the service, or `relay-2` for the second replica of relay. `cpus` are the processors that are assigned to the
    processes, as `posthouse up` does. When `cpus` is empty, every process may use every processor, which is best when
    other suites run at the same time. With `secured`, the services speak gRPC over TCP with their own certificates, as
    on several machines, instead of over Unix sockets. `metrics` says whether each service serves its metrics, and
    `console` whether the console runs. `host` is the address at which tests reach the services. `command_prefix` is put
    before the command of each process, for example to run it in a network namespace.
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
            # In a test, the servers of the outside world are on loopback, to which relay sends no mail by default.
            "RELAY_PROHIBITED_NETWORKS": "",
            "INGRESS_WORKERS": "1",
            # A slow answer of Redis on a busy machine must not count as an outage.
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
        """Starts all services at once and returns when each is ready.

        Raises PeerError with the logs of the services that do not become ready.
        """
        if self._by_command:
            arguments = [sys.executable, "-m", "services", "up", *self._options()]
            self._processes["up"] = self._spawn("up", arguments, self.environment)
            # `posthouse up` itself checks that each service is ready.
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
        """Ends all services with SIGTERM, in the reverse order of their start, and removes the data."""
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
            # The suite has started, so from now on `__exit__` ends it.
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # One service

    def start_service(self, name: str, *, wait: bool = True) -> None:
        """Starts a service that does not run, with the ports and the data that it had before."""
        layout = self.layout[name]
        self._processes[name] = self._spawn(
            name, [sys.executable, "-m", f"services.{layout.service}"], layout.environment
        )
        if wait:
            self.wait_until_ready(name)

    def kill(self, name: str) -> None:
        """Ends one service and all its workers with SIGKILL. Returns when they have ended."""
        pid = self.pid(name)
        family = [pid, *descendants(pid)]
        send_all(family, signal.SIGKILL)
        until(lambda: not any(map(runs, family)), f"{name} has ended after SIGKILL")

    def terminate(self, name: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Sends SIGTERM to one service and returns when it has ended by itself. Raises PeerError."""
        pid = self.pid(name)
        send_all([pid], signal.SIGTERM)
        until(lambda: not runs(pid), f"{name} has ended after SIGTERM", seconds)

    def restart(self, name: str) -> None:
        """Ends one service with SIGTERM and starts it again."""
        self.terminate(name)
        self.start_service(name)

    def freeze(self, name: str) -> None:
        """Stops one service (SIGSTOP): its connections stay open and nothing is answered until `thaw`."""
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
        """Waits until the service reports that it is ready. Raises PeerError with the tail of its log."""
        self._processes[name].until_ready(lambda: self.is_ready(name), seconds, _PAUSE_SECONDS)

    def is_ready(self, name: str) -> bool:
        """Returns whether the service answers its users.

        ingress answers with a greeting 220, the console at /healthz, and config_api at /readyz and gRPC's health check.
        The other services answer at gRPC's health check.
        """
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
        """Returns the log of one service so far. With `by_command` there is only one log, with the name `up`."""
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", "backslashreplace") if path.exists() else ""

    @property
    def logs(self) -> str:
        """The log lines of all services so far, one service after the other."""
        return "\n".join(self.log(name) for name in ("up", *self.layout))

    # Addresses and clients

    def port(self, variable: str, name: str = "") -> int:
        """Returns the port of a variable, for example INGRESS_SMTP_PORT.

        `name` is needed for a replica other than the first.
        """
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
        """Returns a client of the HTTP API with the admin key, for an event loop.

        The caller closes it (`async with`).
        """
        return httpx.AsyncClient(base_url=self.api_url, headers=self._authorization(), timeout=60)

    # Internals

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
        """Returns the variables of gRPC's ports and certificates. Services with Unix sockets need no such variables."""
        if self.certificates is None:
            return {}
        variables = self.certificates.variables()
        for service, variable in LISTEN_VARIABLES.items():
            first = free_run(self._replicas.get(service, 1) * PORT_STEP)
            variables[variable] = f"{LOOPBACK}:{first}"
        return variables

    def channel(self, name: str, caller: str = "config_api") -> grpc.Channel:
        """Returns a channel to a service.

        `caller` is the service whose certificate is used, if the services use certificates.
        """
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
        return _answers(TcpAddress(layout.host, layout.ports["CONFIG_API_PORT"]), "/readyz")

    def _console_answers(self, layout: Process) -> bool:
        return _answers(TcpAddress(layout.host, layout.ports["CONSOLE_PORT"]), "/healthz")

    def _serving(self, layout: Process) -> bool:
        if not accepts_connections(addresses.parse(layout.grpc)):
            return False
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


def _answers(address: TcpAddress, path: str) -> bool:
    """Returns whether the server answers with status 200."""
    if not accepts_connections(address):
        return False
    with contextlib.suppress(httpx.TransportError):
        # This URL needs no TLS. `verify=False` avoids loading the certificates for it, which takes 20 ms.
        return httpx.get(f"http://{address}{path}", timeout=_ASK_SECONDS, verify=False).status_code == 200
    return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


__all__ = ["READY_SECONDS", "PeerError", "Suite"]
