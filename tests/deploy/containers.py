"""The services of compose.yaml as processes of this machine.

They use its commands, environments, secrets and files. Loopback ports replace the ports of the containers.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import httpx
import trustme
import yaml

from tests.deploy import balancer
from tests.peers.ports import LOOPBACK, free_port
from tests.peers.postgres import Postgres
from tests.peers.process import PeerError, PeerProcess, program, run

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
HOSTNAME = "gw.test"

_SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
_RESOLVER = _SERVICES["unbound"]["networks"]["inner"]["ipv4_address"]
_INNER = COMPOSE["networks"]["inner"]["ipam"]["config"][0]["subnet"]
_CONSOLE = f"{_SERVICES['console']['networks']['inner']['ipv4_address']}/32"
_NAMED = re.compile(rf"(?<![\w.-])({'|'.join(sorted(_SERVICES, key=len, reverse=True))}|{re.escape(_RESOLVER)}):(\d+)")
_OWN = re.compile(rf"{re.escape(LOOPBACK)}:(?=\d)")
_OPTIONAL = re.compile(r"\$\{\w+:-([^}]*)\}")
_SECONDS = 10.0


class Containers:
    """Makes the databases and the secrets when it is created, as the head of compose.yaml and its files say.

    Processes are started by `start`.
    """

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self._folder = folder
        self._postgres = postgres
        # Maps (service, port in its container) to the port on this machine.
        self._ports: dict[tuple[str, int], int] = {("postgres", 5432): postgres.port}
        self._running: list[PeerProcess] = []
        self.authority = trustme.CA()
        self._make_secrets()
        postgres.query("CREATE DATABASE config")
        for script in sorted((ROOT / "deploy/postgres").iterdir()):
            run([_of_postgres("psql"), "-Xq", "-v", "ON_ERROR_STOP=1", "-f", script, "-d", self._database("config")])

    def stop(self) -> None:
        for process in self._running:
            process.signal(signal.SIGTERM)
        for process in self._running:
            process.stop()
        for database in ("config", "queue"):
            self._postgres.drop_database(database)

    def port(self, name: str, port: int) -> int:
        """Returns the loopback port that replaces a port of a container."""
        return self._ports.setdefault((name, port), free_port())

    def secret(self, name: str) -> str:
        return (self._folder / "secrets" / name).read_text().strip()

    def start(self, name: str) -> PeerProcess:
        """Starts one of our own services or jobs with the container's command, and does not wait for it."""
        command = [self._here(name, word) for word in _SERVICES[name]["command"]]
        return self._spawn(name, [sys.executable, "-m", "services", *command], self._environment(name))

    def start_redis(self) -> PeerProcess:
        *shell, script = _SERVICES["redis"]["command"]
        own = f" --bind {LOOPBACK} --port {self.port('redis', 6379)} --dir {self._folder}"
        script = self._here("redis", script.replace("/tmp/", f"{self._folder}/"))
        return self._spawn("redis", [*shell, script + own])

    def start_balancer(self) -> PeerProcess:
        """Starts the load balancer. The second ingress of its configuration does not exist here."""
        ingress = {
            name: {port: self.port(name, port) for port in (8025, 8587, 8465, 9101)}
            for name in ("ingress-1", "ingress-2")
        }
        fronts = {port: self.port("balancer", port) for port in (2525, 2587, 2465, 8404)}
        file = self._file("haproxy.cfg", balancer.configuration(fronts, ingress))
        return self._spawn("balancer", [program("haproxy"), "-db", "-f", file])

    def start_resolver(self) -> PeerProcess:
        text = (ROOT / "deploy/unbound/unbound.conf").read_text()
        for here, there in (
            (f"interface: {LOOPBACK}", "interface: 0.0.0.0"),
            (str(self.port("unbound", 5353)), "5353"),
        ):
            assert there in text
            text = text.replace(there, here)
        # The program is copied, because at its own place Debian's AppArmor profile lets it read nothing outside
        # /etc/unbound.
        copy = shutil.copy(program("unbound"), self._folder / "unbound-program")
        return self._spawn("unbound", [copy, "-d", "-c", self._file("unbound.conf", text)])

    def healthy(self, name: str) -> bool:
        """Returns whether the container's health check passes."""
        kind, *test = _SERVICES[name]["healthcheck"]["test"]
        test = [self._here(name, word) for word in test]
        environment = {**os.environ, "PGPORT": str(self._postgres.port), **self._environment(name)}
        match test:
            case ["wget", *_, url]:
                try:
                    return httpx.get(url, timeout=_SECONDS, verify=False).is_success
                except httpx.TransportError:
                    return False
            case ["drill", "-p", _, _, question]:
                port = self.port("unbound", 5353)
                answer = dns.query.udp(dns.message.make_query(question, "A"), LOOPBACK, _SECONDS, port)
                return bool(answer.answer)
            case ["pg_isready", *arguments]:
                test = [str(_of_postgres("pg_isready")), *arguments]
            case [script] if kind == "CMD-SHELL":
                script = re.sub("^python ", f"{sys.executable} ", script)
                test = ["sh", "-c", script.replace("redis-cli", f"redis-cli -p {self.port('redis', 6379)}")]
        done = subprocess.run(test, env=environment, capture_output=True, timeout=60, check=False)
        return done.returncode == 0

    def _spawn(
        self, name: str, arguments: list[str | Path], environment: Mapping[str, str] | None = None
    ) -> PeerProcess:
        log = self._folder / f"{name}.log"
        process = PeerProcess(
            arguments, log, name=name, folder=self._folder, environment=environment, end_signal=signal.SIGTERM
        )
        self._running.append(process)
        return process

    def _environment(self, name: str) -> dict[str, str]:
        """Returns the environment of a container, with only those variables of the test that Python needs."""
        found = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
            "POSTHOUSE_DATA_DIR": str(self._folder / name),
        }
        for variable, value in _SERVICES[name].get("environment", {}).items():
            if variable.endswith("_PORT"):
                found[variable] = str(self.port(name, int(value)))
            elif variable.endswith("_HOST"):
                found[variable] = LOOPBACK
            elif variable.endswith("_LISTEN"):
                found[variable] = f"{LOOPBACK}:{self.port(name, int(value.rpartition(':')[2]))}"
            else:
                here = self._here(name, str(value))
                found[variable] = here.replace(_INNER, f"{LOOPBACK}/32").replace(_CONSOLE, f"{LOOPBACK}/32")
        return found

    def _here(self, name: str, text: str) -> str:
        """Replaces the addresses and folders in a text of the container `name` by those of this machine."""
        text = _OPTIONAL.sub(r"\1", text).replace("$$", "$").replace("/run/secrets/", f"{self._folder}/secrets/")
        text = text.replace("/etc/posthouse/", f"{self._folder}/etc/")
        text = _OWN.sub(f"{name}:", text).replace("@postgres/", "@postgres:5432/")
        return _NAMED.sub(
            lambda found: f"{LOOPBACK}:{self.port(found[1].replace(_RESOLVER, 'unbound'), int(found[2]))}", text
        )

    def _file(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def _database(self, name: str) -> str:
        return self._postgres.url(name).replace("+asyncpg", "")

    def _make_secrets(self) -> None:
        """Makes all secrets: the operator's own certificates, and the others by the job `setup`."""
        secrets = self._folder / "secrets"
        run([sys.executable, "-m", "services", *_SERVICES["setup"]["command"][:1], secrets], folder=ROOT)
        for prefix, hostname in (("", HOSTNAME), ("console_", "localhost")):
            leaf = self.authority.issue_cert(hostname)
            (secrets / f"{prefix}tls_chain").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
            (secrets / f"{prefix}tls_key").write_bytes(leaf.private_key_pem.bytes())
        if {path.name for path in secrets.iterdir()} != set(COMPOSE["secrets"]):
            raise PeerError("the job `setup` has not made every secret of compose.yaml")
        for path in secrets.glob("*_url"):
            path.write_text(self._here("", path.read_text()))


def _of_postgres(name: str) -> Path:
    return program(name, f"/usr/lib/postgresql/*/bin/{name}")
