"""The console closes a connection on which too little is sent, and encrypts connections from other machines."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from starlette.responses import PlainTextResponse

from libs.runtime import http_connections
from services.console.__main__ import http_server
from services.console.settings import Settings
from tests.libs.runtime.test_http_connections import connected
from tests.peers.ports import free_port
from tests.peers.process import PeerProcess


async def test_a_connection_with_an_incomplete_head_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 0.0)
    server = http_server(Settings(port=0), PlainTextResponse("here"))
    running = asyncio.create_task(server.run())
    reader, writer = await connected(server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost:")
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    writer.close()
    await server.stop()
    await running


async def test_with_a_self_signed_certificate_the_console_may_listen_outside_of_loopback(tmp_path: Path) -> None:
    settings = Settings(port=0, host="0.0.0.0", tls_self_signed=True, data_dir=tmp_path)
    assert settings.is_secure, "browsers send the cookies only over HTTPS"
    file = tmp_path / "console-self-signed.pem"
    server = http_server(settings, PlainTextResponse("here"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    running = asyncio.create_task(server.run())
    trusted = ssl.create_default_context(cafile=file)
    for host in ("localhost", "127.0.0.1"):
        async with httpx.AsyncClient(verify=trusted, timeout=60) as browser:
            assert (await browser.get(f"https://{host}:{server.port}/")).text == "here"
    await server.stop()
    await running


def test_the_metrics_port_of_the_console_shows_that_the_console_runs(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "CONSOLE_PORT": str(free_port()),
        "CONSOLE_METRICS_PORT": str(port),
        "POSTHOUSE_DATA_DIR": str(tmp_path),
    }
    process = PeerProcess(
        [sys.executable, "-m", "services.console"],
        tmp_path / "log",
        environment=environment,
    )
    try:
        # The console writes the log line `ready` after it has opened the metrics port.
        process.until_ready(lambda: b'"event": "ready"' in process.log.read_bytes())
        answers = {path: httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=60) for path in ("metrics", "readyz")}
    finally:
        process.stop()
    assert "posthouse_console_build_info{" in answers["metrics"].text
    assert answers["readyz"].json() == {"status": "ready", "missing": {}}


def test_outside_of_loopback_the_console_needs_a_certificate() -> None:
    with pytest.raises(ValidationError, match="set CONSOLE_TLS_CERT"):
        Settings(port=0, host="0.0.0.0")
