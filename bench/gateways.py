"""Runs Posthouse and Postfix as gateways that the benchmarks compare. Each accepts mail on loopback, calls fsync, and
relays all mail to the next hops.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import httpx
import trustme

from bench.generator import PROXY_ADDRESS
from bench.workloads import RECIPIENT_DOMAIN, SENDER_DOMAIN
from libs.runtime import processors
from tests.peers import postfix
from tests.peers.dns import DnsServer
from tests.peers.postgres import Postgres
from tests.peers.process import PeerError, descendants, program, run
from tests.peers.suite import Suite

HOSTNAME = "gateway.bench.example"
LOGIN = "sender"
PASSWORD = "bench-password"
DNSBL_ZONE = "dnsbl.bench.example"


@dataclass(frozen=True, slots=True)
class Task:
    """The configuration with which a gateway is started."""

    # The address and the port for each recipient domain. With only one domain, all mail goes to its next hop.
    next_hops: Mapping[str, tuple[str, int]]
    # The certificate for STARTTLS, or None when TLS is not used.
    certificate: trustme.LeafCert | None = None
    # Whether clients must log in before they may relay.
    auth: bool = False
    # The name server for SPF and DNSBL, or None when nothing is checked.
    nameserver: DnsServer | None = None
    # Whether deliveries begin only when `release` is called.
    held: bool = False
    postgresql: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def single(self) -> tuple[str, int] | None:
        """Returns the next hop, if there is only one."""
        return next(iter(self.next_hops.values())) if len(self.next_hops) == 1 else None


class Gateway(Protocol):
    """A mail server that the benchmarks compare with others."""

    name: str
    # Whether this benchmark has the gateway check SPF and DNSBL, for the client addresses in PROXY headers.
    checks: bool
    # The login of clients. It is empty for a gateway that relays without a login.
    login: str

    @property
    def port(self) -> int: ...

    @property
    def description(self) -> str:
        """Returns the version and the settings of the gateway, for the report."""
        ...

    def start(self, task: Task) -> None: ...

    def release(self) -> None:
        """Lets deliveries begin."""
        ...

    def processes(self) -> Mapping[str, Sequence[int]]:
        """Returns the process ids, by the name that the report has for each kind of process."""
        ...

    def stop(self) -> None: ...


class Posthouse:
    """Posthouse's four mail services with their defaults. Ingress asks policy for every decision."""

    name = "Posthouse"
    checks = True
    login = LOGIN

    def __init__(self) -> None:
        self._suite: Suite | None = None
        self._postgres: Postgres | None = None
        self._held = ""
        self._postgres_url = ""

    @property
    def description(self) -> str:
        return (
            "Posthouse, 4 processes as `posthouse up` starts them; the defaults (log level info), SQLite in WAL with "
            "synchronous=FULL; relay host or relay rules to the sinks; metrics not scraped"
        )

    @property
    def port(self) -> int:
        return self._running.smtp_port

    @property
    def _running(self) -> Suite:
        assert self._suite is not None
        return self._suite

    def start(self, task: Task) -> None:
        environment = {
            **{f"{name}_METRICS_PORT": "0" for name in ("CONFIG_API", "POLICY", "RELAY", "INGRESS")},
            **task.environment,
        }
        if task.nameserver is not None:
            environment["INGRESS_PROXY_NETWORKS"] = f"{PROXY_ADDRESS}/32"
        if task.postgresql:
            self._postgres = Postgres(durable=True).start()
            self._postgres_url = self._postgres.create_database()
        self._suite = Suite(
            environment,
            nameservers="" if task.nameserver is None else task.nameserver.address,
            postgres_url=self._postgres_url,
            # `posthouse up` chooses the processors in the same way.
            cpus=processors.usable(),
        )
        if task.certificate is not None:
            self._suite_certificate(task.certificate)
        self._suite.start()
        self._configure(task)

    def _suite_certificate(self, certificate: trustme.LeafCert) -> None:
        suite = self._running
        chain, key = suite.folder / "bench.pem", suite.folder / "bench.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(certificate.private_key_pem.bytes())
        for process in suite.layout.values():
            # The processes exist already, and the environment of each is a separate dictionary.
            assert isinstance(process.environment, dict)
            process.environment.update(INGRESS_TLS_CERT=str(chain), INGRESS_TLS_KEY=str(key))

    def _configure(self, task: Task) -> None:
        api = self._running.api
        change(api, "/v1/settings/general", {"profile": {"hostname": HOSTNAME}})
        if task.auth:
            smtp_auth = {"forbid_plaintext_auth_without_tls": False, "sender_must_match_login": True}
            change(api, "/v1/settings/general", {"smtp_auth": smtp_auth})
            account = {"login": LOGIN, "password": PASSWORD, "addresses": [f"{LOGIN}@{SENDER_DOMAIN}"]}
            host, port = next(iter(task.next_hops.values()))
            mailbox = {"kind": "smtp", "host": host, "port": port}
            api.post("/v1/local-domains", json={"name": SENDER_DOMAIN, "mailbox": mailbox}).raise_for_status()
            api.post("/v1/accounts", json=account).raise_for_status()
        elif task.nameserver is None:
            trusted = {"name": "loopback", "networks": ["127.0.0.0/8"]}
            api.post("/v1/trusted-networks", json=trusted).raise_for_status()
        else:
            api.post("/v1/relay-domains", json={"domain": RECIPIENT_DOMAIN}).raise_for_status()
            checks = {"spf": {"mode": "enforce"}, "dnsbl": {"mode": "enforce", "zones": [{"zone": DNSBL_ZONE}]}}
            change(api, "/v1/settings/content-checks", checks)
        self._route(api, task)

    def _route(self, api: httpx.Client, task: Task) -> None:
        if task.single is not None and task.nameserver is None:
            host, port = task.single
            change(api, "/v1/settings/delivery", {"mode": "relay_host", "relay_host": {"host": host, "port": port}})
            if task.held:
                self._held = f"/v1/queue/destinations/{quote(f'relay:{host}:{port}', safe='')}"
                api.post(f"{self._held}:suspend", json={}).raise_for_status()
            return
        for domain, (host, port) in task.next_hops.items():
            rule = {
                "name": domain,
                "type": "recipient",
                "target_type": "domain",
                "targets": [domain],
                "relay_host": {"host": host, "port": port},
            }
            api.post("/v1/relay-rules", json=rule).raise_for_status()

    def release(self) -> None:
        self._running.api.post(f"{self._held}:resume").raise_for_status()

    def processes(self) -> Mapping[str, Sequence[int]]:
        suite = self._running
        processes = {}
        for name in suite.layout:
            pid = suite.pid(name)
            processes[name] = [pid, *descendants(pid)]
        if self._postgres is not None:
            processes["postgresql"] = self._postgres_pids()
        return processes

    def change_queue(self, statement: str) -> None:
        """Runs an SQL statement in the queue's database while relay runs."""
        if self._postgres is not None:
            self._postgres.query(f"SET search_path TO relay; {statement}", self._postgres_url.rpartition("/")[2])
            return
        [path] = self._running.folder.rglob("queue.sqlite3")
        with contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            connection.execute(statement)

    def _postgres_pids(self) -> list[int]:
        assert self._postgres is not None
        text = self._postgres.query("SELECT pid FROM pg_stat_activity")
        parent = int(Path(f"/proc/{text.split()[0]}/stat").read_text().rpartition(")")[2].split()[1])
        return [parent, *descendants(parent)]

    def stop(self) -> None:
        if self._suite is not None:
            self._suite.stop()
        if self._postgres is not None:
            self._postgres.stop()


def change(api: httpx.Client, path: str, patch: object) -> None:
    """Applies a merge patch to the present settings."""
    headers = {
        "If-Match": api.get(path).raise_for_status().headers["ETag"],
        "Content-Type": "application/merge-patch+json",
    }
    api.patch(path, json=patch, headers=headers).raise_for_status()


class Postfix:
    """Debian's Postfix in a separate folder, without chroot. Most settings have their defaults, and `description` names
    the others.
    """

    name = "Postfix"
    checks = False
    # No login is used, because Postfix's SASL library stores passwords in one place for the whole machine, where a
    # benchmark must not write.
    login = ""

    def __init__(self) -> None:
        self._peer: _Peer | None = None

    @property
    def description(self) -> str:
        version = run([program("postconf"), "-d", "-h", "mail_version"]).strip()
        return (
            f"Postfix {version}; the defaults but: relayhost or transport_maps to the sinks, no chroot, no limit of "
            "connections a client, no look-up of the client's name"
        )

    @property
    def port(self) -> int:
        return self._running.port

    @property
    def _running(self) -> _Peer:
        assert self._peer is not None
        return self._peer

    def start(self, task: Task) -> None:
        settings = {"myhostname": HOSTNAME}
        if task.single is None:
            maps = (f"{domain}=smtp:[{host}]:{port}" for domain, (host, port) in task.next_hops.items())
            settings |= {"transport_maps": f"inline:{{{', '.join(maps)}}}", "smtp_host_lookup": "native"}
        next_hop = "{}:{}".format(*(task.single or next(iter(task.next_hops.values()))))
        if task.held:
            settings["defer_transports"] = "smtp, relay"
        self._peer = _Peer(next_hop, certificate=task.certificate, settings=settings)
        self._peer.start()

    def release(self) -> None:
        self._running.undefer()

    def processes(self) -> Mapping[str, Sequence[int]]:
        return {"postfix": self._running.pids}

    def stop(self) -> None:
        if self._peer is not None:
            self._peer.stop()


class _Peer(postfix.Postfix):
    """A Postfix of the tests, with the settings that a benchmark needs."""

    @property
    def pids(self) -> list[int]:
        if self._process is None:
            return []
        return [self._process.pid, *descendants(self._process.pid)]

    def undefer(self) -> None:
        """Lets deliveries begin: removes the setting, reloads Postfix, and flushes the queue."""
        configuration = self._folder / "config"
        main = configuration / "main.cf"
        lines = main.read_text().splitlines(keepends=True)
        main.write_text("".join(line for line in lines if not line.startswith("defer_transports")))
        assert self._process is not None
        self._process.signal(signal.SIGHUP)
        run([program("postqueue"), "-c", configuration, "-f"])


def postfix_is_here() -> bool:
    """Whether Postfix can run: it is installed, on Linux, and this process is root."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with contextlib.suppress(PeerError):
        return bool(program("postqueue"))
    return False
