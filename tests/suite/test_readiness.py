"""A service is asked whether it is ready as its peers would: over TLS, and through a PROXY header, where wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from libs.runtime import rpc
from services.suite import readiness
from services.suite.readiness import until_ready
from services.suite.topology import Process


@pytest.fixture
def files(tmp_path: Path) -> rpc.TlsFiles:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    found = rpc.TlsFiles(tmp_path / "chain", tmp_path / "key", tmp_path / "authority")
    found.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    found.key.write_bytes(leaf.private_key_pem.bytes())
    found.authority.write_bytes(authority.cert_pem.bytes())
    return found


async def test_a_service_with_mutual_tls_is_asked_with_its_own_certificate(files: rpc.TlsFiles) -> None:
    server = rpc.Server([], lambda _: None)
    port = await server.start("127.0.0.1", 0, files)
    environment = {
        "POLICY_GRPC_CERT": str(files.certificate),
        "POLICY_GRPC_KEY": str(files.key),
        "POLICY_GRPC_CA": str(files.authority),
    }
    process = Process("policy", "policy", "127.0.0.1", {"POLICY_PORT": port}, environment)
    assert not await readiness._ready(process), "it says that it is not"
    await server.serving(True)
    async with asyncio.timeout(60):
        await until_ready(process)
    bare = Process("policy", "policy", "127.0.0.1", {"POLICY_PORT": port}, {})
    assert not await readiness._ready(bare)
    await server.stop(0)


@pytest.fixture
async def heard() -> AsyncIterator[tuple[int, list[bytes]]]:
    """The port of a server that greets when it was told of the client, and what it was told."""
    lines: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.write(b"220 gw.test\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], lines
    server.close()
    await server.wait_closed()


async def test_an_ingress_behind_a_balancer_is_told_whose_connection_it_is(heard: tuple[int, list[bytes]]) -> None:
    port, lines = heard
    networks = {"INGRESS_PROXY_NETWORKS": "192.0.2.0/24, 127.0.0.1/32"}
    async with asyncio.timeout(60):
        await until_ready(Process("ingress", "ingress", "127.0.0.1", {"INGRESS_SMTP_PORT": port}, networks))
    assert lines == [b"PROXY UNKNOWN\r\n"]
