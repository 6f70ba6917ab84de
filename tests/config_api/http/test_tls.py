"""config_api serves HTTPS itself: it loads a replaced certificate, and silent clients do not delay others."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trustme
from pydantic import ValidationError

from libs.runtime import https_certificate
from libs.runtime.lifecycle import StartupError
from tests.config_api.service import START_SECONDS, Service, running, settings


@pytest.fixture
def pair(tmp_path: Path, certificates: trustme.CA) -> tuple[Path, Path]:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    write(certificates.issue_cert("localhost"), chain, key)
    return chain, key


def write(leaf: trustme.LeafCert, chain: Path, key: Path) -> None:
    leaf.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


def url_of_sqlite(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'config.sqlite3'}"


@pytest.fixture
async def service(tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(https_certificate, "_RELOAD_SECONDS", 0.01)
    chain, key = pair
    more = {"tls_cert": chain, "tls_key": key}
    async with running(url_of_sqlite(tmp_path), tmp_path, **more) as service:
        yield service


def client(service: Service, authority: trustme.CA) -> httpx.AsyncClient:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return httpx.AsyncClient(
        base_url=f"https://localhost:{service.http_port}", headers=service.api.headers, timeout=60, verify=context
    )


async def shown_certificate(service: Service) -> bytes:
    """Returns the certificate of a new connection, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", service.http_port, ssl=context)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return certificate


def handshake_result(server_context: ssl.SSLContext) -> bytes | None:
    """Does a handshake in memory without a server name, and returns the server's certificate in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client.getpeercert(binary_form=True)


async def test_the_api_answers_over_tls(service: Service, certificates: trustme.CA) -> None:
    async with client(service, certificates) as api:
        assert (await api.get("/v1/settings/general")).status_code == httpx.codes.OK
        account = {"login": "alice", "password": "correct horse battery", "addresses": []}
        assert (await api.post("/v1/accounts", json=account)).status_code == httpx.codes.CREATED


async def test_a_request_that_arrives_with_the_end_of_the_handshake_is_answered(
    service: Service, certificates: trustme.CA
) -> None:
    context = ssl.create_default_context()
    certificates.configure_trust(context)
    reader, writer = await asyncio.open_connection("localhost", service.http_port, ssl=context)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(START_SECONDS):
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_plain_http_gets_no_answer_and_does_not_disturb_the_next_client(
    service: Service, certificates: trustme.CA
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.http_port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(START_SECONDS):
        assert not (await reader.read()).startswith(b"HTTP")
    writer.close()
    async with client(service, certificates) as api:
        assert (await api.get("/readyz")).status_code == httpx.codes.OK


async def test_a_replaced_certificate_is_shown_to_the_next_connection(
    service: Service, pair: tuple[Path, Path], certificates: trustme.CA
) -> None:
    before = await shown_certificate(service)
    write(certificates.issue_cert("localhost"), *pair)
    async with asyncio.timeout(START_SECONDS):
        while await shown_certificate(service) == before:  # noqa: ASYNC110 - the service checks the files at intervals
            await asyncio.sleep(0.01)


async def test_handshakes_get_a_complete_pair_while_another_one_is_loaded(
    pair: tuple[Path, Path], certificates: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread loads the new pair. A handshake during this time once saw the new chain before its key was loaded."""
    certificate = https_certificate.Certificate(*pair)
    in_service = (certificate.context, handshake_result(certificate.context))
    loaded: list[ssl.SSLContext] = []

    def load_pair(context: ssl.SSLContext, chain: Path, key: Path) -> None:
        assert context not in (in_service[0], *loaded)
        assert handshake_result(certificate.context) == in_service[1]
        loaded.append(context)
        context.load_cert_chain(chain, key)

    monkeypatch.setattr(https_certificate, "load_pair", load_pair)
    for _ in range(3):
        write(certificates.issue_cert("localhost"), *pair)
        certificate.reload()
        assert handshake_result(certificate.context) != in_service[1]
        in_service = (certificate.context, handshake_result(certificate.context))
    assert len(loaded) == 3


async def test_an_invalid_certificate_file_leaves_the_old_certificate_in_use(
    service: Service, pair: tuple[Path, Path]
) -> None:
    before = await shown_certificate(service)
    pair[0].write_text("nothing of the kind")
    with pytest.raises(StartupError, match=r"chain\.pem"):
        https_certificate.Certificate(*pair)
    assert await shown_certificate(service) == before


async def test_a_connection_without_a_handshake_is_closed(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https_certificate, "HANDSHAKE_SECONDS", 0.05)
    async with running(url_of_sqlite(tmp_path), tmp_path, tls_cert=pair[0], tls_key=pair[1]) as service:
        silent = [await asyncio.open_connection("127.0.0.1", service.http_port) for _ in range(20)]
        async with asyncio.timeout(START_SECONDS):
            for reader, writer in silent:
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()


@pytest.mark.parametrize("alone", ["tls_cert", "tls_key"])
def test_a_certificate_or_a_key_alone_is_refused(alone: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="must both be set, or neither"):
        settings(url_of_sqlite(tmp_path), tmp_path, **{alone: tmp_path / "file"})
