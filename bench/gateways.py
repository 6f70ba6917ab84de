"""The gateways that are compared: each accepts on loopback, fsyncs, and relays everything to one next hop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol

import httpx

from services.suite.topology import lay_out
from services.suite.up import Suite

HOST = "127.0.0.1"


class Gateway(Protocol):
    """One contender."""

    name: str
    # What ran: version and settings, for the report.
    description: str
    port: int

    async def start(self, sink_port: int) -> None: ...

    def cpu_seconds(self) -> dict[str, float]:
        """CPU used so far by each of its processes."""
        ...

    async def stop(self) -> None: ...


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def process_cpu_seconds(pid: int) -> float:
    """User and system time of a process and its reaped children; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(fields[index]) for index in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """The process and everything below it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += children_of(int(child))
    return found


class Posthouse:
    """The four services as `posthouse up` runs them: SQLite, one worker each, every decision asked."""

    name = "Posthouse"

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.port = 0
        self.description = "4 processes, SQLite WAL synchronous=FULL, relay host = the sink"
        self._extra = environment or {}
        self._folder: Path | None = None
        self._suite: Suite | None = None
        self.log: list[str] = []

    async def start(self, sink_port: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-bench-"))
        names = (
            *("CONFIG_API_PORT", "CONFIG_API_GRPC_PORT", "POLICY_PORT", "RELAY_PORT"),
            *("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT"),
        )
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        key = secrets.token_hex(24)
        environment = {
            **os.environ,
            "POSTHOUSE_DATA_DIR": str(self._folder),
            "CONFIG_API_ADMIN_KEY": key,
            "RELAY_PROHIBITED_NETWORKS": "",
            **{f"{prefix}_METRICS_PORT": "0" for prefix in ("CONFIG_API", "POLICY", "RELAY", "INGRESS")},
            **{f"{prefix}_LOG_LEVEL": "warning" for prefix in ("CONFIG_API", "POLICY", "RELAY", "INGRESS")},
            **{name: str(port) for name, port in ports.items()},
            **self._extra,
        }
        self.port = ports["INGRESS_SMTP_PORT"]
        self._suite = Suite(lay_out(environment), self._folder, self.log.append)
        await self._suite.start()
        base = f"http://{HOST}:{ports['CONFIG_API_PORT']}"
        async with httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {key}"}) as api:
            await self._configure(api, sink_port)

    async def _configure(self, api: httpx.AsyncClient, sink_port: int) -> None:
        await _change(api, "/v1/settings/general", {"profile": {"hostname": "gateway.bench.example"}})
        trusted = {"name": "loopback", "networks": ["127.0.0.0/8"]}
        (await api.post("/v1/trusted-networks", json=trusted)).raise_for_status()
        await _change(
            api, "/v1/settings/delivery", {"mode": "relay_host", "relay_host": {"host": HOST, "port": sink_port}}
        )

    def cpu_seconds(self) -> dict[str, float]:
        if self._suite is None:
            return {}
        return {
            child.process.name: sum(map(process_cpu_seconds, children_of(self._pid(self._suite, child.process.name))))
            for child in self._suite.children
        }

    @staticmethod
    def _pid(suite: Suite, name: str) -> int:
        return int((suite.run_folder / f"{name}.pid").read_text())

    async def stop(self) -> None:
        if self._suite is not None:
            await self._suite.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder)


async def _change(api: httpx.AsyncClient, path: str, patch: object) -> None:
    current = (await api.get(path)).raise_for_status()
    headers = {"If-Match": current.headers["ETag"], "Content-Type": "application/merge-patch+json"}
    (await api.patch(path, json=patch, headers=headers)).raise_for_status()


class Postfix:
    """Debian's Postfix in a folder of its own, with its defaults but for the relay host and no chroot."""

    name = "Postfix"

    def __init__(self) -> None:
        self.port = 0
        command = ["/usr/sbin/postconf", "-d", "-h", "mail_version"]
        version = subprocess.run(command, capture_output=True, text=True, check=True)
        self.description = f"Postfix {version.stdout.strip()}, defaults, relayhost = the sink, no chroot"
        self._folder: Path | None = None
        self._master = 0

    async def start(self, sink_port: int) -> None:
        (self.port,) = free_ports(1)
        self._folder = await asyncio.to_thread(self._lay_out, sink_port)
        await self._command("start")
        await self._listening()
        self._master = int(await asyncio.to_thread((self._folder / "queue" / "pid" / "master.pid").read_text))

    def _lay_out(self, sink_port: int) -> Path:
        """Writes a configuration, with queue and data beside it."""
        folder = Path(tempfile.mkdtemp(prefix="postfix-bench-"))
        folder.chmod(0o755)
        for name in ("config", "queue", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        settings = (
            "compatibility_level = 3.6",
            f"queue_directory = {folder}/queue",
            f"data_directory = {folder}/data",
            "command_directory = /usr/sbin",
            "daemon_directory = /usr/lib/postfix/sbin",
            "mail_owner = postfix",
            "setgid_group = postdrop",
            "myhostname = gateway.bench.example",
            "mydestination =",
            "mynetworks = 127.0.0.0/8",
            "inet_interfaces = 127.0.0.1",
            "inet_protocols = ipv4",
            f"relayhost = [{HOST}]:{sink_port}",
            "smtp_tls_security_level = none",
            "alias_maps =",
            "alias_database =",
            f"maillog_file = {folder}/log",
            f"maillog_file_prefixes = {folder}",
        )
        (folder / "config" / "main.cf").write_text("\n".join(settings) + "\n")
        services = [self._service(line) for line in Path("/usr/share/postfix/master.cf.dist").read_text().splitlines()]
        if not any(line.startswith("postlog") for line in services):
            services.append("postlog unix-dgram n - n - 1 postlogd")
        (folder / "config" / "master.cf").write_text("\n".join(services) + "\n")
        return folder

    def _service(self, line: str) -> str:
        """A line of master.cf, with our port for smtpd and no chroot."""
        fields = line.split()
        if len(fields) < 8 or line.startswith(("#", " ", "\t")):
            return line
        if fields[:2] == ["smtp", "inet"]:
            fields[0] = f"{HOST}:{self.port}"
        fields[4] = "n"
        return "\t".join(fields)

    async def _command(self, verb: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "/usr/sbin/postfix", "-c", f"{self._folder}/config", verb,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"postfix {verb}: {output.decode(errors='replace')}")

    async def _listening(self) -> None:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_connection(HOST, self.port)
                    await reader.readline()
                    writer.write(b"QUIT\r\n")
                    await reader.read()
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    def cpu_seconds(self) -> dict[str, float]:
        return {"postfix": sum(map(process_cpu_seconds, children_of(self._master)))}

    async def stop(self) -> None:
        if self._folder is None:
            return
        if self._master:
            await self._command("stop")
        shutil.rmtree(self._folder, ignore_errors=True)


def postfix_is_here() -> bool:
    try:
        pwd.getpwnam("postfix")
    except KeyError:
        return False
    return Path("/usr/sbin/postfix").exists() and sys.platform == "linux" and os.geteuid() == 0
