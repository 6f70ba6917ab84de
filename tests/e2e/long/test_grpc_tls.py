"""The services use mutual TLS. Mail flows, and continues when every certificate is replaced in place."""

from __future__ import annotations

import datetime
import re
import shutil
import smtplib
from collections.abc import Iterator

import httpx
import pytest

from services.suite.topology import GRPC_SERVICES as SERVICES
from tests.e2e import world
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e


def certificate_ends(suite: Suite) -> list[datetime.datetime]:
    """Returns for each service when its certificate expires, according to its metrics."""
    assert suite.certificates is not None
    ends = []
    for service in SERVICES:
        url = f"http://{suite.host}:{suite.port(f'{service.upper()}_METRICS_PORT')}/metrics"
        path = suite.certificates.files(service).certificate
        sample = rf'certificate_expiry_timestamp_seconds{{certificate="{re.escape(str(path))}"}} (\S+)'
        shown = re.findall(sample, httpx.get(url, timeout=60).text)
        ends += [datetime.datetime.fromtimestamp(float(end), datetime.UTC) for end in shown]
    return ends


@pytest.fixture
def suite() -> Iterator[Suite]:
    with Suite(secured=True) as running:
        yield running
        print(running.logs[-20_000:])


def test_mail_flows_over_mutual_tls_while_all_certificates_are_replaced(suite: Suite, smtp_sink: SmtpSink) -> None:
    world.trust_loopback(suite)
    world.relay_everything_to(suite, smtp_sink.port)
    world.until_in_force(suite)
    until(lambda: world.reply_to_rcpt(suite, "bob@far.test")[0] == 250, "ingress has connected to policy and relay")

    def send() -> None:
        with world.smtp(suite) as client:
            assert client.sendmail("a@sender.test", ["bob@far.test"], world.message("a@sender.test")) == {}

    send()
    smtp_sink.wait_for_messages(1)
    assert suite.certificates is not None
    (first,) = set(certificate_ends(suite))
    # The new authority is independent of the former one.
    shutil.rmtree(suite.folder / "tls" / "authority")
    suite.certificates.renew(days=500)
    ends = certificate_ends(suite)
    assert len(ends) == len(SERVICES)
    assert min(ends) > first
    # Open connections stay. New connections use the new certificates of relay and of every service that calls relay.
    send()
    suite.restart("relay")

    def taken() -> bool:
        try:
            send()
        except smtplib.SMTPException:
            return False
        return True

    # For a second after relay has ended, ingress still accepts RCPT and then refuses the content.
    until(taken, "ingress has connected to relay again")
    smtp_sink.wait_for_messages(3)
    assert suite.api.get("/v1/queue/destinations").status_code == 200, (
        "config_api calls relay with the new certificates"
    )
