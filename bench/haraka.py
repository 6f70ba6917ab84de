"""Runs Haraka as a gateway that the benchmarks compare. It is installed from npm in a separate folder, accepts mail
into its queue on disk, and delivers from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.gateways import HOSTNAME, LOGIN, PASSWORD, Task
from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import PeerError, PeerProcess, descendants, program, run, runs, send_all, until

VERSION = "3.3.4"
_PACKAGE = f"Haraka@{VERSION}"
_INSTALL_SECONDS = 600.0
# The number of deliveries at the same time in each process, which is Haraka's default.
_CONCURRENCY = 100
# A plugin for Haraka, with which loopback may relay (after a login, if the workload has one), no outside name server is
# asked, and the sinks are the next hops.
_PLUGIN = """'use strict'
const hops = %(hops)s
exports.register = function () {
    this.register_hook('lookup_rdns', 'known')
    this.register_hook('connect', 'trusted')
    this.register_hook('rcpt', 'taken')
    this.register_hook('get_mx', 'hop')
}
exports.known = (next) => next(OK, 'localhost')
exports.trusted = (next, connection) => { connection.relaying = %(trusted)s; next() }
exports.taken = (next, connection) => connection.relaying ? next(OK) : next(DENY, 'log in first')
exports.hop = (next, hmail, domain) => {
    const hop = hops[domain] || Object.values(hops)[0]
    next(OK, { priority: 0, exchange: hop[0], port: hop[1] })
}
"""


def installed() -> Path:
    """Returns the folder with the pinned version, in the cache of the virtual environment. npm installs it when it is
    missing. Raises PeerError when there is no node or npm, or when npm fails.
    """
    folder = Path(sys.prefix) / "peers" / f"haraka-{VERSION}"
    package = folder / "node_modules" / "Haraka"
    if (package / "package.json").exists():
        return package
    npm = program("npm")
    print(f"installing {_PACKAGE} with npm", flush=True)
    # It is installed in another folder and then moved, so that the rest of a failed installation is never used.
    fresh = Path(tempfile.mkdtemp(prefix="haraka-", dir=_made(folder.parent)))
    try:
        options = ("--no-audit", "--no-fund", "--omit=dev", "--omit=optional", "--ignore-scripts", "--loglevel=error")
        (fresh / "package.json").write_text('{"private": true}\n')
        run([npm, "install", *options, "--save-exact", _PACKAGE], folder=fresh, seconds=_INSTALL_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return package


def is_here() -> bool:
    """Installs Haraka if it is missing. Returns whether it is there. If it is not, prints the reason."""
    try:
        installed()
    except (PeerError, OSError, subprocess.TimeoutExpired) as error:
        print(f"without Haraka: {error}", file=sys.stderr)
        return False
    return True


class Haraka:
    """Haraka with one process for each core under its cluster module. It always calls fsync for queue files."""

    name = "Haraka"
    checks = False
    login = LOGIN

    def __init__(self) -> None:
        self.port = 0
        self._folder = Path()
        self._process: PeerProcess | None = None

    @property
    def description(self) -> str:
        node = run([program("node"), "--version"]).strip()
        return (
            f"Haraka {VERSION} on node {node}; {os.cpu_count()} processes, {_CONCURRENCY} deliveries at once in each, "
            "its outbound queue on disk; no plug-in but one that sets the next hops (and tls, auth where a workload "
            "needs it); log level warn"
        )

    def start(self, task: Task) -> None:
        package = installed()
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-haraka-"))
        shutil.copytree(package / "config", self._folder / "config")
        for name in ("plugins", "queue"):
            (self._folder / name).mkdir()
        plugins = ["bench", *(["tls"] if task.certificate else []), *(["auth/flat_file"] if task.auth else [])]
        self._write("plugins", "\n".join(plugins) + "\n")
        self._write("me", f"{HOSTNAME}\n")
        self._write("smtp.ini", f"listen={LOOPBACK}:{self.port}\nnodes={os.cpu_count()}\n")
        self._write("log.ini", "[main]\nlevel=warn\n")
        self._write("outbound.ini", _outbound(held=task.held))
        if task.auth:
            users = f"[users]\n{LOGIN}={PASSWORD}\n"
            self._write("auth_flat_file.ini", f"[core]\nmethods=PLAIN,LOGIN\nconstrain_sender=false\n{users}")
        if task.certificate is not None:
            chain = b"".join(blob.bytes() for blob in task.certificate.cert_chain_pems)
            (self._folder / "config" / "tls_cert.pem").write_bytes(chain)
            (self._folder / "config" / "tls_key.pem").write_bytes(task.certificate.private_key_pem.bytes())
            # Without this file Haraka would compute parameters during the whole run. A group of RFC 7919 needs no
            # computation.
            group = ("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")
            run([program("openssl"), *group, "-out", self._folder / "config" / "dhparams.pem"])
        hops = {domain: list(hop) for domain, hop in task.next_hops.items()}
        plugin = _PLUGIN % {"hops": json.dumps(hops), "trusted": "false" if task.auth else "true"}
        (self._folder / "plugins" / "bench.js").write_text(plugin)
        command: list[str | Path] = [program("node"), package / "bin" / "haraka", "-c", self._folder]
        self._process = PeerProcess(command, self._folder / "log", name="Haraka", end_signal=signal.SIGTERM)
        self._process.until_ready(self._greets, 60, 0.1)

    def _write(self, name: str, text: str) -> None:
        (self._folder / "config" / name).write_text(text)

    def release(self) -> None:
        """Lets deliveries begin. Haraka reads its changed configuration by itself."""
        self._write("outbound.ini", _outbound(held=False))

    def processes(self) -> Mapping[str, Sequence[int]]:
        if self._process is None:
            return {}
        return {"haraka": [self._process.pid, *descendants(self._process.pid)]}

    def stop(self) -> None:
        if self._process is not None:
            # All mail is delivered by now, so the processes are killed. A normal shutdown would wait half a minute for
            # idle sessions.
            family = descendants(self._process.pid)
            self._process.kill()
            send_all(family, signal.SIGKILL)
            until(lambda: not any(map(runs, family)), "Haraka's processes end")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _greets(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=5) as connection:
            if connection.recv(4).startswith(b"220"):
                connection.sendall(b"QUIT\r\n")
                return True
        return False


def _outbound(*, held: bool) -> str:
    return f"concurrency_max={_CONCURRENCY}\nenable_tls=false\ndisabled={str(held).lower()}\n"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
