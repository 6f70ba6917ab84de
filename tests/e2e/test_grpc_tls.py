"""The services with mutual TLS between them: mail flows, and goes on when every certificate is replaced in place."""

from __future__ import annotations

import datetime
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.suite.topology import Process
from tests.e2e import world
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e

_PREFIXES = ("CONFIG_API", "POLICY", "RELAY", "INGRESS")


class TlsSuite(Suite):
    """Everyone's files are in `tls`; asked as a peer with a certificate of the authority."""

    def __init__(self, tls: Path) -> None:
        self.tls = tls
        self.replace(2031)
        files = {"CERT": tls / "chain", "KEY": tls / "key", "CA": tls / "authority"}
        super().__init__({f"{prefix}_GRPC_{name}": str(path) for prefix in _PREFIXES for name, path in files.items()})

    def replace(self, year: int) -> None:
        """A new authority, and a new certificate for everyone, which ends with the beginning of that year."""
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1", not_after=datetime.datetime(year, 1, 1, tzinfo=datetime.UTC))
        (self.tls / "key").write_bytes(leaf.private_key_pem.bytes())
        (self.tls / "chain").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        (self.tls / "authority").write_bytes(authority.cert_pem.bytes())

    def certificate_ends(self) -> list[int]:
        """The years in which the certificates that the services show in their metrics end, one a service."""
        years = []
        for prefix in _PREFIXES:
            url = f"http://{self.host}:{self.port(f'{prefix}_METRICS_PORT')}/metrics"
            sample = (
                rf'certificate_expiry_timestamp_seconds{{certificate="{re.escape(str(self.tls / "chain"))}"}} (\S+)'
            )
            ends = re.findall(sample, httpx.get(url, timeout=60).text)
            years += [datetime.datetime.fromtimestamp(float(end), datetime.UTC).year for end in ends]
        return years

    def _serving(self, layout: Process, variable: str) -> bool:
        key, chain, authority = ((self.tls / name).read_bytes() for name in ("key", "chain", "authority"))
        credentials = grpc.ssl_channel_credentials(authority, key, chain)
        with grpc.secure_channel(f"{layout.host}:{layout.ports[variable]}", credentials) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[TlsSuite]:
    with TlsSuite(tmp_path) as running:
        yield running
        print(running.logs[-20_000:])


def test_mail_flows_over_mutual_tls_whose_certificates_are_replaced_under_it(
    suite: TlsSuite, smtp_sink: SmtpSink
) -> None:
    world.trust_loopback(suite)
    world.relay_everything_to(suite, smtp_sink.port)
    world.until_in_force(suite)
    until(lambda: world.reply_to_rcpt(suite, "bob@far.test")[0] == 250, "ingress has found policy and relay")

    def send() -> None:
        with world.smtp(suite) as client:
            assert client.sendmail("a@sender.test", ["bob@far.test"], world.message("a@sender.test")) == {}

    send()
    smtp_sink.wait_for_messages(1)
    assert suite.certificate_ends() == [2031] * 4
    suite.replace(2032)
    assert suite.certificate_ends() == [2032] * 4
    # What is open stays, and what connects anew does so with the new ones: here relay, and so everyone who calls it.
    send()
    suite.restart("relay")

    def taken() -> bool:
        try:
            send()
        except smtplib.SMTPException:
            return False
        return True

    # For a second after relay is gone RCPT is answered as if it were there.
    until(taken, "ingress has found relay again")
    smtp_sink.wait_for_messages(3)
    assert suite.api.get("/v1/queue/destinations").status_code == 200, "config_api calls relay with the new ones"
