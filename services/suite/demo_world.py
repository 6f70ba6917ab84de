"""The environment of `posthouse demo` and of `posthouse demo --keep`: a temporary suite, and on loopback a name server
and the mail servers of other domains.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.suite.demo_peers import MailServer, Nameserver, Zone, self_signed
from services.suite.output import ConsoleOutput
from services.suite.sockets import sockets_of
from services.suite.topology import SERVICES, lay_out
from services.suite.up import Suite, SuiteError

HOST = "127.0.0.1"
ALICE = "alice@ours.example"
FATE_SECONDS = 30.0
PAUSE_SECONDS = 0.05
_MX_HOST = "127.0.0.9"
_SMARTHOST_LOGIN = "gateway"
_PREFIXES = ("POSTHOUSE_", *(f"{service.upper()}_" for service in SERVICES))
_ZONE: Zone = {
    ("far.example", "MX"): ("10 mx.far.example.",),
    ("mx.far.example", "A"): (_MX_HOST,),
    ("smart.example", "A"): (HOST,),
}


class Api:
    """The HTTP API, as another system would call it."""

    def __init__(self, base: str, key: str) -> None:
        self._base = base
        self._key = key

    def get(self, path: str) -> Any:
        """Returns the JSON of the answer to GET. Raises SuiteError, with the status and the content of the answer, when
        the API refuses.
        """
        answer, _ = self._call("GET", path, None, {})
        return answer

    def call(self, method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        """Returns the JSON of the answer to a request with content. Raises SuiteError when the API refuses."""
        answer, _ = self._call(method, path, body, headers or {})
        return answer

    def change(self, path: str, patch: Mapping[str, Any]) -> None:
        """Applies a merge patch to the present settings."""
        _, etag = self._call("GET", path, None, {})
        self._call("PATCH", path, patch, {"If-Match": etag, "Content-Type": "application/merge-patch+json"})

    def settle(self, path: str, question: Mapping[str, Any]) -> None:
        """Sends a POST request of Explain again and again, until the answer comes from the newest revision. Raises
        SuiteError after FATE_SECONDS.
        """
        newest = self.get("/v1/revisions?limit=1")["items"][0]["number"]
        deadline = time.monotonic() + FATE_SECONDS
        while self.call("POST", path, question)["snapshot_revision"] < newest:
            if time.monotonic() > deadline:
                raise SuiteError(f"{path} has not used revision {newest} after {FATE_SECONDS:g} s")
            time.sleep(PAUSE_SECONDS)

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> tuple[Any, str]:
        request = urllib.request.Request(  # noqa: S310 - our own API on loopback
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                return json.load(response), response.headers.get("ETag", "")
        except urllib.error.HTTPError as error:
            raise SuiteError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error


@dataclass(frozen=True, slots=True)
class World:
    """The running demonstration. `password` is that of alice's account. `mx` serves far.example, and `smarthost`
    partner.example.
    """

    folder: Path
    suite: Suite
    api: Api
    environment: Mapping[str, str]
    mx: MailServer
    smarthost: MailServer
    password: str

    def port(self, variable: str) -> int:
        return int(self.environment[variable])

    @property
    def key_file(self) -> Path:
        return self.folder / "admin-key"


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    print_line: Callable[[str], None],
    *,
    settings: Mapping[str, str] | None = None,
    zone: Zone | None = None,
    others: Mapping[str, MailServer] | None = None,
) -> AsyncIterator[World]:
    """Starts everything, with ours.example as a local domain and partner.example behind a smart host.

    `settings` are environment variables in addition to the demonstration's own. `others` has further mail servers, by
    the address at which each listens. They use the same port as `mx`. `zone` has further records for the name server,
    for example the names of `others`. Raises SuiteError.
    """
    smarthost_password = secrets.token_urlsafe(12)
    mx = MailServer("mx.far.example")
    smarthost = MailServer("smart.example", self_signed(folder, "smart.example"), _SMARTHOST_LOGIN, smarthost_password)
    nameserver = Nameserver({**_ZONE, **(zone or {})})
    async with contextlib.AsyncExitStack() as stack:
        mx_port = await mx.start(_MX_HOST, 0)
        stack.push_async_callback(mx.stop)
        smarthost_port = await smarthost.start(HOST, 0)
        stack.push_async_callback(smarthost.stop)
        for host, server in (others or {}).items():
            await server.start(host, mx_port)
            stack.push_async_callback(server.stop)
        environment = {**_environment(folder, await nameserver.start(), mx_port), **(settings or {})}
        stack.callback(nameserver.stop)
        sockets = stack.enter_context(sockets_of(folder, environment))
        processes = lay_out(environment, sockets=sockets)
        suite = Suite(processes, folder, ConsoleOutput(print_line, max(len(process.name) for process in processes)))
        stack.push_async_callback(suite.stop)
        await suite.start()
        api = Api(f"http://{HOST}:{environment['CONFIG_API_PORT']}", (folder / "admin-key").read_text().strip())
        password = secrets.token_urlsafe(12)
        await asyncio.to_thread(_configure, api, folder, password, smarthost_port, smarthost_password)
        yield World(folder, suite, api, environment, mx, smarthost, password)


def free_ports(count: int) -> list[int]:
    """Returns free ports on loopback."""
    listeners = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _environment(folder: Path, nameserver: str, mx_port: int) -> dict[str, str]:
    ports = ("CONFIG_API_PORT", "INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT")
    return {
        # The settings of a suite that may run on this machine must not affect the demonstration.
        **{name: value for name, value in os.environ.items() if not name.upper().startswith(_PREFIXES)},
        "POSTHOUSE_DATA_DIR": str(folder),
        "POLICY_NAMESERVERS": nameserver,
        "RELAY_NAMESERVERS": nameserver,
        "INGRESS_NAMESERVERS": nameserver,
        "CONSOLE_PORT": "0",
        "RELAY_MX_PORT": str(mx_port),
        # The Internet of the demonstration is on loopback, where other suites must never send mail.
        "RELAY_PROHIBITED_NETWORKS": "",
        **dict(zip(ports, map(str, free_ports(len(ports))), strict=True)),
    }


def _configure(api: Api, folder: Path, password: str, smarthost_port: int, smarthost_password: str) -> None:
    api.change("/v1/settings/general", {"profile": {"hostname": "gateway.ours.example"}})
    api.call(
        "POST",
        "/v1/local-domains",
        {"name": "ours.example", "mailbox": {"kind": "maildir", "path": str(folder / "mail")}},
    )
    api.call("POST", "/v1/accounts", {"login": "alice", "password": password, "addresses": [ALICE]})
    settle_policy(api)
    api.call(
        "POST",
        "/v1/relay-rules",
        {
            "name": "partners through the smart host",
            "type": "recipient",
            "target_type": "domain",
            "targets": ["partner.example"],
            "relay_host": {
                "host": "smart.example",
                "port": smarthost_port,
                "always_tls": True,
                "verify_certificate": False,
                "auth": {"username": _SMARTHOST_LOGIN, "password": smarthost_password},
            },
        },
    )
    api.settle("/v1/explain/route", {"recipient": ALICE})


def settle_policy(api: Api) -> None:
    """Waits until policy uses the newest revision. This revision must change something for policy, which otherwise does
    not get it.
    """
    api.settle("/v1/explain/session", {"kind": "hypothetical", "facts": {"stage": "connect", "client_address": HOST}})
