"""gRPC servers and channels as every service uses them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.runtime import rpc
from libs.runtime.lifecycle import StartupError

SERVING = int(health_pb2.HealthCheckResponse.SERVING)


async def _status(channel: grpc.aio.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service="example"), timeout=60)
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


class Files:
    """The PEM files of one side, which can be written anew."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.tls = rpc.TlsFiles(folder / "chain", folder / "key", folder / "authority")

    def write(
        self, authority: trustme.CA, name: str = "service.test", trusted: trustme.CA | None = None
    ) -> rpc.TlsFiles:
        leaf = authority.issue_cert(name)
        self.tls.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        self.tls.key.write_bytes(leaf.private_key_pem.bytes())
        self.tls.authority.write_bytes((trusted or authority).cert_pem.bytes())
        return self.tls


class Secured:
    """A server over mutual TLS whose files are of `authority`."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.files = Files(folder / "server")
        self.client = Files(folder / "client")
        self.client.write(self.authority, "client.test")
        self._server = rpc.Server(["example"], lambda _: None)
        self.target = ""

    async def __aenter__(self) -> Self:
        self.target = f"127.0.0.1:{await self._server.start('127.0.0.1', 0, self.files.write(self.authority))}"
        await self._server.serving(True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def answers(self, tls: rpc.TlsFiles | None = None, name: str = "service.test") -> bool:
        """Whether a new connection is served."""
        async with rpc.channel(self.target, tls or self.client.tls, name) as channel:
            try:
                return await _status(channel) == SERVING
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                return False


async def test_mutual_tls_serves_the_right_peers_and_no_others(tmp_path: Path) -> None:
    async with Secured(tmp_path) as server:
        assert await server.answers()
        # A server with another name, and a client of another authority.
        assert not await server.answers(name="other.test")
        stranger = Files(tmp_path / "stranger").write(trustme.CA(), "client.test", trusted=server.authority)
        assert not await server.answers(stranger)
        # A client that does not trust the server.
        distrustful = Files(tmp_path / "distrustful").write(server.authority, "client.test", trusted=trustme.CA())
        assert not await server.answers(distrustful)
        # No certificate at all, and no TLS.
        bare = grpc.ssl_channel_credentials(server.files.tls.authority.read_bytes())
        options = [("grpc.ssl_target_name_override", "service.test")]
        async with grpc.aio.secure_channel(server.target, bare, options=options) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await _status(channel)
        async with rpc.channel(server.target) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await _status(channel)


async def test_replaced_certificates_serve_new_connections_without_a_restart(tmp_path: Path) -> None:
    async with (
        Secured(tmp_path) as server,
        rpc.Dialer(server.target.replace("127.0.0.1", "localhost"), server.client.tls) as dialer,
    ):
        server.files.write(server.authority, "localhost")
        assert await _status(dialer.channel()) == health_pb2.HealthCheckResponse.SERVING
        before = dialer.channel()
        fresh = trustme.CA()
        server.files.write(fresh, "localhost")
        assert not await server.answers(name="localhost"), "the old client is no peer of the new server"
        # What is open stays open.
        assert await _status(before) == health_pb2.HealthCheckResponse.SERVING
        server.client.write(fresh, "client.test")
        assert await server.answers(name="localhost")
        assert dialer.channel() is not before
        assert await _status(dialer.channel()) == health_pb2.HealthCheckResponse.SERVING
        assert dialer.channel() is dialer.channel()


async def test_half_replaced_certificates_change_nothing(tmp_path: Path) -> None:
    async with Secured(tmp_path) as server, rpc.Dialer(server.target, server.client.tls) as dialer:
        channel = dialer.channel()
        for files in (server.files, server.client):
            files.tls.key.write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes())
        good = Files(tmp_path / "good").write(server.authority, "client.test")
        assert await server.answers(good)
        assert dialer.channel() is channel
        server.files.tls.certificate.unlink()
        assert await server.answers(good)


async def test_certificates_that_are_no_pair_are_said_at_the_start(tmp_path: Path) -> None:
    files = Files(tmp_path / "server")
    files.write(trustme.CA())
    files.tls.key.write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes())
    with pytest.raises(StartupError, match="gRPC TLS"):
        await rpc.Server([], lambda _: None).start("127.0.0.1", 0, files.tls)


async def test_a_peer_that_says_nothing_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """By keepalives: a machine that is gone ends no connection, and not every call has a deadline."""
    fast = [
        (name, value // 50 if "keepalive_time" in name or "ping_timeout" in name else value)
        for name, value in rpc._CLIENT_OPTIONS
        if isinstance(value, int)
    ]
    assert len(fast) == len(rpc._CLIENT_OPTIONS)
    monkeypatch.setattr(rpc, "_CLIENT_OPTIONS", fast)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # An empty SETTINGS frame (RFC 9113 6.5) makes it a peer.
        writer.write(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))

    silent = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with rpc.channel(f"127.0.0.1:{port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        async with asyncio.timeout(30):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    silent.close()


def test_targets_are_comma_separated() -> None:
    assert rpc.targets("one:1, [::1]:2,") == ("one:1", "[::1]:2")
    for wrong in ("", "one", "one:", "one:x", ":1"):
        with pytest.raises(ValueError, match="host:port"):
            rpc.targets(wrong)
