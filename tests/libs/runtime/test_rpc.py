"""gRPC servers and channels as every service uses them."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.runtime import rpc
from libs.runtime.lifecycle import StartupError


async def _status(channel: grpc.aio.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service="example"), timeout=5)
    return int(answer.status)


async def test_health_follows_serving() -> None:
    server = rpc.Server(["example"], lambda _: None)
    port = await server.start("127.0.0.1", 0)
    async with rpc.channel(f"127.0.0.1:{port}") as channel:
        assert await _status(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.serving(True)
        assert await _status(channel) == health_pb2.HealthCheckResponse.SERVING
    await server.stop(0)


async def test_a_taken_port_is_a_clear_error() -> None:
    first, second = rpc.Server([], lambda _: None), rpc.Server([], lambda _: None)
    port = await first.start("127.0.0.1", 0)
    with pytest.raises(StartupError, match=f"127.0.0.1:{port}"):
        await second.start("127.0.0.1", port)
    await first.stop(0)


async def test_mutual_tls_wants_a_client_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    chain, key, root = tmp_path / "chain", tmp_path / "key", tmp_path / "root"
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    root.write_bytes(authority.cert_pem.bytes())
    files = rpc.TlsFiles(certificate=chain, key=key, authority=root)
    server = rpc.Server(["example"], lambda _: None)
    port = await server.start("127.0.0.1", 0, files)
    await server.serving(True)
    async with rpc.channel(f"localhost:{port}", files) as channel:
        assert await _status(channel) == health_pb2.HealthCheckResponse.SERVING
    bare = grpc.ssl_channel_credentials(root.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{port}", bare) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await _status(channel)
    await server.stop(0)


def test_targets_are_comma_separated() -> None:
    assert rpc.targets("one:1, [::1]:2,") == ("one:1", "[::1]:2")
    for wrong in ("", "one", "one:", "one:x", ":1"):
        with pytest.raises(ValueError, match="host:port"):
            rpc.targets(wrong)
