"""The gRPC servers and channels that every service uses."""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Self

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from libs.runtime import rpc
from libs.runtime.lifecycle import StartupError
from libs.runtime.security import Security, TlsFiles
from tests.peers.plain_grpc import INSECURE
from tests.peers.service_certificates import ServiceCertificates

SERVING = int(health_pb2.HealthCheckResponse.SERVING)


async def _status(channel: grpc.aio.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service="example"), timeout=60)
    return int(answer.status)


async def test_the_health_check_answers_serving_only_while_the_server_serves(tmp_path: Path) -> None:
    server = rpc.Server({"example": {}}, lambda _: None)
    listen = f"unix:{tmp_path / 'run' / 'example.sock'}"
    assert await server.start(listen, Security()) == listen
    async with rpc.channel(listen, Security(), "example") as channel:
        assert await _status(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.serving(True)
        assert await _status(channel) == health_pb2.HealthCheckResponse.SERVING
    await server.stop(0)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_an_address_in_use_is_a_clear_error(kind: str, tmp_path: Path) -> None:
    first, second = rpc.Server({"example": {}}, lambda _: None), rpc.Server({}, lambda _: None)
    asked = f"unix:{tmp_path / 'run' / 'example.sock'}" if kind == "unix" else "127.0.0.1:0"
    listen = await first.start(asked, INSECURE)
    with pytest.raises(StartupError, match=re.escape(listen.removeprefix("unix:"))):
        await second.start(listen, INSECURE)
    await second.stop(0)
    await first.serving(True)
    async with rpc.channel(listen, INSECURE, "example") as channel:
        assert await _status(channel) == SERVING, "the first one still has its address"
    await first.stop(0)
    await second.start(listen, INSECURE)
    await second.stop(0)


class Secured:
    """A server that requires mutual TLS, and the certificates of its callers."""

    def __init__(self, folder: Path) -> None:
        self.certificates = ServiceCertificates(folder, "relay", "policy", "ingress")
        self._server = rpc.Server({"example": {}}, lambda _: None)
        self.target = ""

    async def __aenter__(self) -> Self:
        self.target = await self._server.start("127.0.0.1:0", self.certificates.security("relay"))
        await self._server.serving(True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def answers(self, security: Security | None = None, service: str = "relay") -> bool:
        """Returns whether the server answers on a new connection."""
        async with rpc.channel(self.target, security or self.certificates.security("ingress"), service) as channel:
            try:
                return await _status(channel) == SERVING
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                return False


async def test_mutual_tls_serves_the_right_peers_and_no_others(tmp_path: Path) -> None:
    async with Secured(tmp_path) as server:
        assert await server.answers()
        assert not await server.answers(service="policy"), (
            "a server whose certificate names another service is not called"
        )
        strangers = ServiceCertificates(tmp_path / "strangers", "ingress")
        theirs, ours = strangers.files("ingress"), server.certificates.files("ingress")
        stranger = Security(replace(theirs, authority=ours.authority))
        assert not await server.answers(stranger), "a client with a certificate of another authority is refused"
        distrustful = Security(replace(ours, authority=theirs.authority))
        assert not await server.answers(distrustful), "a server with a certificate of another authority is not called"
        bare = grpc.ssl_channel_credentials(ours.authority.read_bytes())
        options = [("grpc.ssl_target_name_override", "relay.posthouse.internal")]
        async with grpc.aio.secure_channel(server.target, bare, options=options) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await _status(channel)
        async with rpc.channel(server.target, INSECURE, "relay") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await _status(channel)


async def test_replaced_certificates_serve_new_connections_without_a_restart(tmp_path: Path) -> None:
    async with (
        Secured(tmp_path) as server,
        rpc.Dialer(server.target, server.certificates.security("ingress"), "relay") as dialer,
    ):
        assert await _status(dialer.channel()) == SERVING
        before = dialer.channel()
        former = tmp_path / "former"
        shutil.copytree(server.certificates.folder / "ingress", former)
        shutil.rmtree(tmp_path / "authority")
        server.certificates.renew()
        old_client = Security(TlsFiles(former / "chain.pem", former / "key.pem", former / "authority.pem"))
        assert not await server.answers(old_client), "a client with the former certificate is refused"
        assert await _status(before) == SERVING, "open connections stay open"
        assert await server.answers()
        assert dialer.channel() is not before
        assert await _status(dialer.channel()) == SERVING
        assert dialer.channel() is dialer.channel()


async def test_a_certificate_without_its_new_key_changes_nothing(tmp_path: Path) -> None:
    async with Secured(tmp_path) as server:
        certificates = server.certificates
        good = certificates.security("policy")
        async with rpc.Dialer(server.target, certificates.security("ingress"), "relay") as dialer:
            channel = dialer.channel()
            for service in ("relay", "ingress"):
                shutil.copy(certificates.files("policy").key, certificates.files(service).key)
            assert await server.answers(good)
            assert dialer.channel() is channel
            certificates.files("relay").certificate.unlink()
            assert await server.answers(good)


async def test_a_certificate_and_key_that_do_not_match_are_reported_at_the_start(tmp_path: Path) -> None:
    certificates = ServiceCertificates(tmp_path, "relay", "policy")
    shutil.copy(certificates.files("policy").key, certificates.files("relay").key)
    with pytest.raises(StartupError, match="gRPC TLS"):
        await rpc.Server({}, lambda _: None).start("127.0.0.1:0", certificates.security("relay"))


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "gateway.example:0"])
async def test_without_tls_only_loopback_is_served_or_called(listen: str) -> None:
    with pytest.raises(StartupError, match="needs mutual TLS"):
        await rpc.Server({}, lambda _: None).start(listen, INSECURE)
    with pytest.raises(StartupError, match="needs mutual TLS"):
        rpc.channel(listen, INSECURE, "relay")


async def test_without_tls_loopback_is_served_only_if_the_setting_allows_it() -> None:
    with pytest.raises(StartupError, match="POSTHOUSE_INSECURE_GRPC"):
        await rpc.Server({}, lambda _: None).start("127.0.0.1:0", Security())
    with pytest.raises(StartupError, match="POSTHOUSE_INSECURE_GRPC"):
        rpc.channel("127.0.0.1:1", Security(), "relay")
    for listen in ("127.0.0.1:0", "127.9.9.9:0", "localhost:0"):
        server = rpc.Server({}, lambda _: None)
        with structlog.testing.capture_logs() as events:
            await server.start(listen, INSECURE)
        assert [event["event"] for event in events] == ["grpc_is_insecure"]
        await server.stop(0)


async def _methods(target: str, security: Security) -> list[str]:
    async with rpc.channel(target, security, "relay") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        return [service.name for answer in [await call.read()] for service in answer.list_services_response.service]


async def test_reflection_is_served_only_if_the_setting_allows_it(tmp_path: Path) -> None:
    certificates = ServiceCertificates(tmp_path, "relay", "ingress")
    for asked_for in (False, True):
        server = rpc.Server({}, lambda _: None)
        security = replace(certificates.security("relay"), reflection=asked_for)
        target = await server.start("127.0.0.1:0", security)
        if asked_for:
            assert "grpc.health.v1.Health" in await _methods(target, certificates.security("ingress"))
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _methods(target, certificates.security("ingress"))
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        await server.stop(0)


async def test_a_silent_peer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keepalives are needed: a machine that crashed closes no connection, and not every call has a deadline."""
    fast = [
        (name, value // 50 if "keepalive_time" in name or "ping_timeout" in name else value)
        for name, value in rpc._CLIENT_OPTIONS
        if isinstance(value, int)
    ]
    assert len(fast) == len(rpc._CLIENT_OPTIONS)
    monkeypatch.setattr(rpc, "_CLIENT_OPTIONS", fast)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # With an empty SETTINGS frame the server is a valid HTTP/2 peer (RFC 9113 section 6.5).
        writer.write(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))

    silent = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with rpc.channel(f"127.0.0.1:{port}", INSECURE, "relay") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        async with asyncio.timeout(30):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    silent.close()
