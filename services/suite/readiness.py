"""Asks a service whether it is ready to work, as its users would find it."""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import ip_address, ip_network
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.runtime import rpc
from libs.runtime.lifecycle import StartupError
from services.suite.topology import Process

_ASK_SECONDS = 2.0
_PAUSE_SECONDS = 0.05


async def until_ready(process: Process) -> None:
    """Returns when the service answers as ready; asks until then."""
    while not await _ready(process):  # noqa: ASYNC110 - another process, which can only be asked
        await asyncio.sleep(_PAUSE_SECONDS)


async def _ready(process: Process) -> bool:
    ports = process.ports
    with contextlib.suppress(OSError, TimeoutError, EOFError, StartupError):
        async with asyncio.timeout(_ASK_SECONDS):
            match process.service:
                case "config_api":
                    head = await _first_line(process.host, ports["CONFIG_API_PORT"], b"GET /readyz HTTP/1.0\r\n\r\n")
                    return b" 200 " in head and await _serving(process, "CONFIG_API_GRPC_PORT")
                case "policy":
                    return await _serving(process, "POLICY_PORT")
                case "relay":
                    return await _serving(process, "RELAY_PORT")
                case _:
                    port = next(ports[name] for name in ("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT") if ports[name])
                    return (await _greeting(process.host, port, proxied=_proxied(process))).startswith(b"220")
    return False


def _tls(process: Process) -> rpc.TlsFiles | None:
    """The service's own certificate is as good as any of its peers'."""
    given = [process.environment.get(f"{process.service.upper()}_GRPC_{name}", "") for name in ("CERT", "KEY", "CA")]
    return rpc.TlsFiles(*map(Path, given)) if all(given) else None


def _proxied(process: Process) -> bool:
    """Whether what comes from this machine must begin with a PROXY header."""
    networks = process.environment.get("INGRESS_PROXY_NETWORKS", "").split(",")
    with contextlib.suppress(ValueError):
        us = ip_address(process.host)
        return any(us in ip_network(each.strip()) for each in networks if each.strip())
    return False


async def _greeting(host: str, port: int, *, proxied: bool) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        if proxied:
            # A balancer's own check of health (PROXY protocol 2.1): the connection counts as ours.
            writer.write(b"PROXY UNKNOWN\r\n")
        line = await reader.readline()
        writer.write(b"QUIT\r\n")
        await reader.read()
        return line
    finally:
        writer.close()


async def _first_line(host: str, port: int, send: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(send)
        return await reader.readline()
    finally:
        writer.close()


async def _serving(process: Process, variable: str) -> bool:
    host, port = process.host, process.ports[variable]
    # Asking by gRPC whether anybody is there costs ten times of this.
    (await asyncio.open_connection(host, port))[1].close()
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    async with rpc.channel(target, _tls(process)) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_ASK_SECONDS
            )
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
