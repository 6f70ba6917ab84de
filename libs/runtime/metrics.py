"""The HTTP server of a process for its metrics and its health."""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Gauge,
    disable_created_metrics,
    generate_latest,
)

from libs.runtime.lifecycle import StartupError

# A function that returns for each dependency, by its name, what is wrong with it. The text is empty when nothing is
# wrong. Everybody may read the text, so it never contains an address, the text of an error or a secret.
Readiness = Callable[[], Mapping[str, str]]

_REQUEST_LIMIT = 8192
_REQUEST_SECONDS = 10


BUILD_INFO_HELP = "Always 1. The labels say which release runs, and on which version of Python."


def build_labels() -> dict[str, str]:
    """Returns the labels of the gauge `build_info` of a service."""
    return {"version": version("posthouse"), "python": platform.python_version()}


def show_build(service: str) -> None:
    """Shows the gauge `posthouse_<service>_build_info`."""
    labels = build_labels()
    Gauge(f"posthouse_{service}_build_info", BUILD_INFO_HELP, list(labels)).labels(**labels).set(1)


def report(readiness: Readiness, optional: Collection[str] = ()) -> tuple[int, dict[str, Any]]:
    """Returns the HTTP status of /readyz and its body: `status` is ready, degraded or unready; `missing` says why.

    While only `optional` dependencies are missing, the process continues to work. The answer is then 200 (degraded), so
    that load balancers still send requests to the process.
    """
    missing = {name: text for name, text in readiness().items() if text}
    if not missing:
        return 200, {"status": "ready", "missing": missing}
    if missing.keys() <= set(optional):
        return 200, {"status": "degraded", "missing": missing}
    return 503, {"status": "unready", "missing": missing}


def fingerprint(digest: bytes) -> int:
    """Returns the first 48 bits of a digest as a number. Prometheus stores numbers as floats, which hold 48 bits
    exactly.
    """
    return int.from_bytes(digest[:6])


class MetricsServer:
    """Serves GET /metrics, /healthz (the process answers) and /readyz (503, and which dependency is missing)."""

    def __init__(
        self, readiness: Readiness, registry: CollectorRegistry = REGISTRY, *, optional: Collection[str] = ()
    ) -> None:
        """The process can work without the dependencies named in `optional`."""
        self._readiness = readiness
        self._registry = registry
        self._optional = optional
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listens. Port 0 turns the server off. Raises StartupError when the address is in use."""
        if port == 0:
            return
        # By default the library adds a series with the time of creation of each counter, which nobody uses.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        try:
            self._server = await asyncio.start_server(self._answer, host, port, limit=_REQUEST_LIMIT)
        except OSError as error:
            raise StartupError(f"metrics: can't listen on {host}:{port}: {error.strerror}") from error

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, content_type, body = self._respond(head.split(b"\r\n", 1)[0])
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            writer.close()

    def _respond(self, request_line: bytes) -> tuple[str, str, bytes]:
        match request_line.split(b" "):
            case [b"GET", target, _]:
                path = target.split(b"?", 1)[0]
            case _:
                return "405 Method Not Allowed", "text/plain", b"only GET\n"
        if path == b"/metrics":
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path == b"/healthz":
            return "200 OK", "application/json", b'{"status":"ok"}\n'
        if path == b"/readyz":
            status, readiness = report(self._readiness, self._optional)
            body = json.dumps(readiness).encode() + b"\n"
            return ("200 OK" if status == 200 else "503 Service Unavailable"), "application/json", body
        return "404 Not Found", "text/plain", b"/metrics, /healthz or /readyz\n"
