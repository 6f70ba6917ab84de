"""The checks that ingress answers over gRPC: the certificate that clients get, and the machine."""

from __future__ import annotations

from pathlib import Path

from posthouse.checks.v1 import checks_pb2 as pb
from posthouse.checks.v1 import checks_pb2_grpc

from libs.runtime import rpc
from tests.ingress.conftest import Ingress, Start
from tests.libs.runtime.test_machine_checks import ROOT, write_certificate
from tests.peers.dns import DnsServer
from tests.peers.plain_grpc import INSECURE


async def ask(ingress: Ingress, *, run: bool = False, hostname: str = "") -> dict[str, pb.CheckResult]:
    async with rpc.channel(ingress.worker.grpc, INSECURE, "ingress") as channel:
        stub: checks_pb2_grpc.ChecksAsyncStub = checks_pb2_grpc.ChecksStub(channel)
        response = await stub.ListChecks(pb.ListChecksRequest(run=run, hostname=hostname))
    assert response.made_at.seconds <= response.clock.seconds
    return {result.id: result for result in response.results}


async def test_each_check_has_its_result(start: Start) -> None:
    with DnsServer(ROOT) as name_server:
        name_server.secure(".")
        results = await ask(await start(nameservers=name_server.address))
    assert set(results) == {"disk", "clock", "open_files", "name_servers", "certificate"}
    assert results["name_servers"].level == pb.CHECK_LEVEL_OK
    # No certificate is configured, so ingress made one itself.
    assert "signed by itself" in results["certificate"].text


async def test_the_certificate_must_be_for_the_hostname_of_the_settings(start: Start, tmp_path: Path) -> None:
    path, key = tmp_path / "c.pem", tmp_path / "k.pem"
    write_certificate(path, "mx.example.com", issuer="An authority", key_path=key)
    with DnsServer(ROOT) as name_server:
        ingress = await start(nameservers=name_server.address, tls_cert=str(path), tls_key=str(key))
        assert (await ask(ingress, hostname="mx.example.com"))["certificate"].level == pb.CHECK_LEVEL_OK
        # Results of the last run are shown until somebody runs the checks again.
        assert (await ask(ingress, hostname="other.example.com"))["certificate"].level == pb.CHECK_LEVEL_OK
        result = (await ask(ingress, run=True, hostname="other.example.com"))["certificate"]
    assert result.level == pb.CHECK_LEVEL_WARNING
    assert "other.example.com" in result.text
