"""The small HTTP server of a process serves only metrics and health, and /readyz reports each missing dependency."""

from __future__ import annotations

import asyncio
import json

import pytest
from prometheus_client import CollectorRegistry, Counter

from libs.runtime.lifecycle import StartupError
from libs.runtime.metrics import MetricsServer
from tests.peers.ports import LOOPBACK, free_port


async def get(port: int, request: bytes) -> tuple[int, bytes]:
    """Sends a request to the server and returns the status and the body of the answer."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(request)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    ("missing", "status", "word"),
    [
        ({"snapshot": "", "redis": ""}, 200, "ready"),
        ({"snapshot": "", "redis": "away"}, 200, "degraded"),
        ({"snapshot": "none yet", "redis": ""}, 503, "unready"),
        ({"snapshot": "none yet", "redis": "away"}, 503, "unready"),
    ],
)
async def test_readyz_names_what_is_missing(missing: dict[str, str], status: int, word: str) -> None:
    server, port = MetricsServer(lambda: missing, CollectorRegistry(), optional=("redis",)), free_port()
    await server.start(LOOPBACK, port)
    try:
        found, body = await get(port, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    finally:
        await server.stop()
    assert found == status
    assert json.loads(body) == {"status": word, "missing": {name: text for name, text in missing.items() if text}}


async def test_only_metrics_and_health_are_served() -> None:
    registry = CollectorRegistry()
    Counter("posthouse_test_things", "Things.", registry=registry).inc()
    server, port = MetricsServer(dict, registry), free_port()
    await server.start(LOOPBACK, port)
    try:
        assert (await get(port, b"GET /metrics?name=x HTTP/1.1\r\n\r\n"))[1].count(
            b"posthouse_test_things_total 1.0"
        ) == 1
        assert (await get(port, b"GET /healthz HTTP/1.0\r\n\r\n"))[0] == 200
        assert (await get(port, b"GET /etc/passwd HTTP/1.1\r\n\r\n"))[0] == 404
        assert (await get(port, b"POST /metrics HTTP/1.1\r\n\r\n"))[0] == 405
        assert (await get(port, b"EHLO\r\n\r\n"))[0] == 405
        with pytest.raises(StartupError, match="can't listen"):
            await MetricsServer(dict, registry).start(LOOPBACK, port)
    finally:
        await server.stop()
