"""The metrics as Prometheus reads them: names and labels. Clients cannot create further metrics or labels."""

from __future__ import annotations

import datetime
from pathlib import Path

import trustme
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.ingress.metrics import Histogram, MetricsCollector
from services.ingress.session import Listener
from tests.ingress.conftest import Ingress, Start
from tests.ingress.test_tls import write


def shown(ingress: Ingress) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(
        MetricsCollector(
            ingress.metrics,
            ingress.worker.listeners.open_sessions,
            lambda: {"policy": True},
            lambda: ingress.worker.context.certificates.in_use,
        )
    )
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(ingress: Ingress, name: str, /, **labels: str) -> float:
    return shown(ingress).get((name, frozenset(labels.items())), 0.0)


async def test_one_message_is_counted_in_each_metric_that_it_concerns(ingress: Ingress) -> None:
    client = await ingress.client()
    content = b"Subject: x\r\n\r\nbody\r\n"
    assert (await client.send_mail(content, "a@example.com", "b@example.com")).code == 250
    assert value(ingress, "posthouse_ingress_open_sessions", listener="smtp", state="command") == 1
    assert value(ingress, "posthouse_ingress_sessions_total", listener="smtp") == 1
    assert value(ingress, "posthouse_ingress_commands_total", verb="RCPT") == 2
    assert value(ingress, "posthouse_ingress_replies_total", code="354") == 1
    assert value(ingress, "posthouse_ingress_messages_total", outcome="accepted") == 1
    assert value(ingress, "posthouse_ingress_received_bytes_total") == len(content)
    assert value(ingress, "posthouse_ingress_sent_bytes_total") > 100
    assert value(ingress, "posthouse_ingress_policy_seconds_count", stage="RCPT") == 2
    assert value(ingress, "posthouse_ingress_relay_seconds_count") == 1
    assert value(ingress, "posthouse_ingress_data_seconds_count") == 1
    await client.command("QUIT")
    await ingress.until_empty()
    assert value(ingress, "posthouse_ingress_sessions_ended_total", reason="quit") == 1
    assert value(ingress, "posthouse_ingress_open_sessions", listener="smtp", state="command") == 0


async def test_text_of_clients_is_not_in_labels(ingress: Ingress) -> None:
    client = await ingress.client(Listener.SUBMISSION)
    before = len(shown(ingress))
    for number in range(15):
        assert (await client.command(f"XYZZY{number} plugh")).code == 500
    assert value(ingress, "posthouse_ingress_commands_total", verb="unknown") == 15
    assert len(shown(ingress)) - before <= 3


async def test_the_expiry_of_the_certificate_in_use_is_shown(
    start: Start, tmp_path: Path, certificates: trustme.CA
) -> None:
    end, later = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2033, 2034))
    chain, key = write(tmp_path, "pair", certificates.issue_cert("mx.example.com", not_after=end))
    ingress = await start(tls_cert=str(chain), tls_key=str(key))
    name = "posthouse_ingress_certificate_expiry_timestamp_seconds"
    assert value(ingress, name, certificate=str(chain)) == end.timestamp()
    named = "posthouse_ingress_certificate_name_info"
    assert value(ingress, named, certificate=str(chain), name="mx.example.com") == 1

    write(tmp_path, "pair", certificates.issue_cert("mx.example.com", not_after=later))
    # A pair that cannot be loaded is not in use, so its date of expiry is not shown.
    key.write_text("nonsense")
    ingress.worker.context.certificates.reload()
    assert value(ingress, name, certificate=str(chain)) == end.timestamp()

    write(tmp_path, "pair", certificates.issue_cert("mx.example.com", not_after=later))
    ingress.worker.context.certificates.reload()
    assert value(ingress, name, certificate=str(chain)) == later.timestamp()


def test_histograms_are_cumulative() -> None:
    histogram = Histogram()
    for seconds in (0.0001, 0.0005, 0.003, 0.5, 100.0):
        histogram.observe(seconds)
    buckets = dict(histogram.buckets())
    assert (buckets["0.0005"], buckets["0.005"], buckets["0.5"], buckets["30.0"], buckets["+Inf"]) == (2, 3, 4, 4, 5)
