"""A running suite provides traces, related log lines and metrics, and reports missing dependencies."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.otlp import Collector, Span
from tests.peers.ports import LOOPBACK, free_port
from tests.peers.postgres import Postgres
from tests.peers.process import PeerProcess, until
from tests.peers.redis import Redis
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SERVICES = ("config_api", "ingress", "policy", "relay")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def far() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def queue_database(_postgres: Postgres) -> Iterator[Postgres]:
    _postgres.ensure_running()
    yield _postgres
    _postgres.ensure_running()


@pytest.fixture(scope="module")
def counters(_redis: Redis) -> Iterator[Redis]:
    _redis.ensure_running()
    _redis.flush()
    yield _redis
    _redis.ensure_running()


@pytest.fixture(scope="module")
def suite(collector: Collector, far: SmtpSink, queue_database: Postgres, counters: Redis) -> Iterator[Suite]:
    """A suite that sends traces and uses the databases of the test."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "RELAY_MX_PORT": str(far.port),
        "RELAY_LEASE_SECONDS": "3",
    }
    with DnsServer() as outside:
        outside.add("far.test", "MX", "10 mx.far.test.")
        outside.add("mx.far.test", "A", far.host)
        url = queue_database.create_database()
        with Suite(environment, nameservers=outside.address, postgres_url=url, redis_url=counters.url) as running:
            world.local_domain(running)
            world.account(running)
            world.until_in_force(running)
            until(
                lambda: world.reply_to_rcpt(running, world.ALICE)[0] == 250, "ingress has connected to policy and relay"
            )
            yield running
            print(running.logs[-20_000:])
        queue_database.ensure_running()
        queue_database.drop_database(url)


def send(suite: Suite, *recipients: str) -> str:
    """Sends a message from alice, who is logged in, and returns its queue id."""
    with world.submission(suite) as client:
        client.mail(world.ALICE)
        for recipient in recipients:
            client.rcpt(recipient)
        code, text = client.data(world.message(recipients=recipients))
    assert code == 250, text
    return text.decode().rpartition(" ")[2]


def states(suite: Suite, queue_id: str) -> list[str]:
    """Returns the states of the deliveries of a message in the queue."""
    answer = suite.api.get(f"/v1/queue/messages/{queue_id}")
    assert answer.status_code == 200, answer.text
    return [each["state"] for each in answer.json()["deliveries"]]


def log_lines(suite: Suite, service: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in suite.log(service).splitlines() if line.startswith("{")]


# Traces


def of_queue_id(spans: Sequence[Span], name: str, queue_id: str) -> list[Span]:
    return [span for span in spans if span.name == name and span.attributes.get("posthouse.queue_id") == queue_id]


def test_a_message_is_one_trace_through_ingress_policy_relay_and_all_attempts(
    suite: Suite, collector: Collector, far: SmtpSink
) -> None:
    far.on(Stage.RCPT, reply("451 4.2.0 Later"), address="bob@far.test", times=1)
    queue_id = send(suite, "bob@far.test")
    first = collector.wait_for(
        lambda spans: bool(
            of_queue_id(spans, "relay.attempt", queue_id) and of_queue_id(spans, "ingress.message", queue_id)
        ),
        "the spans of the first attempt have come",
    )
    (root,) = of_queue_id(first, "ingress.message", queue_id)
    assert (root.parent, root.service, root.kind) == ("", "ingress", "server")
    # The message now waits in the database. The next attempt continues with the trace that is stored there.
    until(lambda: states(suite, queue_id) == ["deferred"], "the deferral is committed")
    assert suite.api.post(f"/v1/queue/messages/{queue_id}:retry").status_code == 200
    collector.wait_for(
        lambda spans: len(of_queue_id(spans, "relay.attempt", queue_id)) == 2, "the span of the second attempt has come"
    )
    trace = collector.trace(root.trace)
    by_id = {span.id: span for span in trace}
    tree = [(span.service, span.name, by_id[span.parent].name if span.parent else "") for span in trace]
    assert sorted(set(tree)) == [
        ("ingress", "ingress.message", ""),
        ("policy", "policy.decide", "ingress.message"),
        ("relay", "relay.attempt", "relay.submit"),
        ("relay", "relay.commit", "relay.submit"),
        ("relay", "relay.submit", "ingress.message"),
    ]
    assert [name for _, name, _ in tree].count("relay.submit") == 1
    decisions = [span for span in trace if span.name == "policy.decide"]
    assert "rcpt" in [span["stage"] for span in decisions]
    assert {span["action"] for span in decisions} == {"accept"}
    (submit,) = [span for span in trace if span.name == "relay.submit"]
    assert submit["queue_id"] == queue_id
    deferred, delivered = [span for span in trace if span.name == "relay.attempt"]
    assert (deferred["result"], deferred["code"], deferred["attempt"], deferred.failed) == ("deferred", 451, 1, True)
    assert (delivered["result"], delivered["code"], delivered["attempt"]) == ("delivered", 250, 2)
    assert delivered["host"] == "mx.far.test"
    assert not delivered.failed
    assert all(span.began <= span.ended and root.began <= span.began for span in trace)
    assert {span["session_id"] for span in trace if "posthouse.session_id" in span.attributes} == {root["session_id"]}


def test_a_session_has_its_own_trace_to_which_its_messages_are_linked(
    suite: Suite, collector: Collector, far: SmtpSink
) -> None:
    with world.submission(suite) as client:
        queue_ids = []
        for _ in range(2):
            client.mail(world.ALICE)
            client.rcpt("bob@far.test")
            queue_ids.append(client.data(world.message())[1].decode().rpartition(" ")[2])
    spans = collector.wait_for(
        lambda spans: (
            all(of_queue_id(spans, "relay.attempt", id_) for id_ in queue_ids)
            and any(span.name == "ingress.session" and span["messages"] == 2 for span in spans)
        ),
        "the spans of both messages and of their session have come",
    )
    messages = [of_queue_id(spans, "ingress.message", id_)[0] for id_ in queue_ids]
    assert messages[0].trace != messages[1].trace
    (session,) = {link for message in messages for link in message.links}
    of_session = collector.trace(session)
    (root,) = [span for span in of_session if span.name == "ingress.session"]
    assert (root["listener"], root["tls"], root["reason"]) == ("submission", True, "quit")

    def decided(spans: Sequence[Span]) -> set[Any]:
        return {span["stage"] for span in spans if span.trace == session and span.name == "policy.decide"}

    # policy sends its spans in batches, at its own times.
    spans = collector.wait_for(
        lambda spans: {"connect", "auth"} <= decided(spans), "the spans of the session's decisions have come"
    )
    assert not {"rcpt", "end_of_data"} & decided(spans)


def test_a_refused_message_ends_its_trace_with_the_verdict(suite: Suite, collector: Collector) -> None:
    with world.smtp(suite) as client:
        client.mail("someone@far.test")
        assert client.rcpt("nobody@ours.test")[0] == 550
    spans = collector.wait_for(
        lambda spans: any(span.attributes.get("posthouse.reason_id") == "unknown_recipient" for span in spans),
        "the span with the verdict has come",
    )
    verdict = next(span for span in spans if span.attributes.get("posthouse.reason_id") == "unknown_recipient")
    assert (verdict["stage"], verdict["action"]) == ("rcpt", "reject")
    collector.wait_for(lambda spans: any(span.id == verdict.parent for span in spans), "the message's span has come")
    assert not [span for span in collector.trace(verdict.trace) if span.service == "relay"]


def test_a_report_joins_the_trace_of_the_message_that_failed(suite: Suite, collector: Collector, far: SmtpSink) -> None:
    far.on(Stage.RCPT, reply("550 5.1.1 Nobody here"), address="gone@far.test", times=1)
    queue_id = send(suite, "gone@far.test")
    spans = collector.wait_for(
        lambda spans: bool(of_queue_id(spans, "relay.attempt", queue_id)), "the attempt's span has come"
    )
    trace = of_queue_id(spans, "relay.attempt", queue_id)[0].trace
    collector.wait_for(
        lambda spans: (
            [span["destination"] for span in spans if span.name == "relay.attempt" and span.trace == trace]
            == ["domain:far.test", "mailbox:ours.test"]
        ),
        "the span of the report's delivery has come",
    )


def test_spans_contain_no_mail_and_no_mail_address(suite: Suite, collector: Collector, far: SmtpSink) -> None:
    queue_id = send(suite, "bob@far.test")
    spans = collector.wait_for(
        lambda spans: bool(of_queue_id(spans, "relay.attempt", queue_id)), "the attempt's span has come"
    )
    shown = json.dumps([span.attributes for span in spans])
    assert "@" not in shown
    for secret in ("Hello.", "A test", world.PASSWORD, world.LOGIN, suite.admin_key):
        assert secret not in shown


# Log lines

# The events about one session, and the events about one message in the queue.
OF_A_SESSION = {
    "verdict",
    "submission_stored",
    "submission_not_stored",
    "content_refused",
    "handshake_failed",
    "policy_unavailable",
    "delivery_attempt",
}
OF_A_MESSAGE = {"submission_stored", "delivery_attempt", "delivery_held", "deliveries_expired"}


def lines_of_message(suite: Suite, service: str, event: str, queue_id: str) -> list[dict[str, Any]]:
    return [line for line in log_lines(suite, service) if line["event"] == event and line.get("queue_id") == queue_id]


def until_logged(suite: Suite, queue_id: str) -> None:
    """Waits until ingress and relay have logged their lines about a message. Each service logs at its own time."""
    until(
        lambda: bool(lines_of_message(suite, "ingress", "submission_stored", queue_id)),
        "ingress has logged the submission",
    )
    until(lambda: bool(lines_of_message(suite, "relay", "delivery_attempt", queue_id)), "relay has logged the attempt")


def test_log_lines_of_one_message_are_found_by_its_session_and_its_queue_id(suite: Suite) -> None:
    queue_id = send(suite, "bob@far.test")
    until_logged(suite, queue_id)
    (stored,) = lines_of_message(suite, "ingress", "submission_stored", queue_id)
    (attempt,) = lines_of_message(suite, "relay", "delivery_attempt", queue_id)
    assert attempt["session_id"] == stored["session_id"]

    def decided() -> list[dict[str, Any]]:
        return [line for line in log_lines(suite, "policy") if line.get("session_id") == stored["session_id"]]

    until(lambda: "rcpt" in [line["stage"] for line in decided()], "policy has logged the verdict on the recipient")
    assert decided()[0]["stage"] == "connect"


def test_every_line_of_a_session_or_message_has_its_id(suite: Suite) -> None:
    until_logged(suite, send(suite, "bob@far.test"))
    with world.smtp(suite) as client:
        client.mail("someone@far.test")
        assert client.rcpt("nobody@ours.test")[0] == 550
    until(
        lambda: "verdict" in {line["event"] for line in log_lines(suite, "ingress")},
        "ingress has logged the refusal",
    )
    seen = set()
    for service in SERVICES:
        for line in log_lines(suite, service):
            seen.add(line["event"])
            if line["event"] in OF_A_SESSION and not (line["event"] == "delivery_attempt" and line["sender"] == ""):
                assert re.fullmatch("[0-9a-f]{32}", line["session_id"]), line
            if line["event"] in OF_A_MESSAGE:
                assert re.fullmatch("[0-9A-F]+", line["queue_id"]), line
    assert {"verdict", "submission_stored", "delivery_attempt"} <= seen


# Metrics


def scraped(suite: Suite, service: str) -> list[Metric]:
    port = suite.port(f"{service.upper()}_METRICS_PORT")
    text = httpx.get(f"http://{suite.host}:{port}/metrics", timeout=60, verify=False).text
    return list(text_string_to_metric_families(text))


NAME = re.compile(r"posthouse_(?:config_api|ingress|policy|relay)_[a-z]+(?:_[a-z]+)*").fullmatch
# The units with which the name of a histogram ends, and the ends that no name has. The parser has removed `_total` from
# counters.
HISTOGRAM_UNITS = ("_seconds", "_messages")
NO_UNITS = ("_octets", "_ms", "_milliseconds", "_mb", "_count", "_sum", "_bucket", "_total", "_minutes")
# Every label, with the values that it may have. Clients and other servers choose no value, except for `destination`.
LABELS = {
    "listener": r"smtp|submission|submissions",
    "reason": r"[a-z_]*",
    "verb": r"[A-Z]{3,8}|unknown|pipelining_[a-z_]+",
    "code": r"[2-5][0-9]{2}",
    "outcome": r"[a-z_]+",
    "hook": r"handle_(?:MAIL|RCPT|DATA|exception)",
    "stage": r"[A-Z_]+|[a-z_]+",
    "check": r"dkim|arc|virus|signatures|spam",
    "state": r"greeting|command|transaction|leased|due|deferred|held",
    "service": r"policy|relay",
    "action": r"accept|reject|discard",
    "counter": r"[a-z_]+",
    "lookup": r"client_name|helo_domain|sender_domain|dnsbl|spf|dmarc",
    # Block lists are configured, so this label has only as many values as there are configured lists.
    "zone": r"[a-z0-9.-]+",
    "result": r"[a-z_]+",
    "kind": r"A|AAAA|MX|TXT|TLSA|report|double_bounce",
    "what": r"retired|expired|delay_notice",
    "direction": r"forward|back",
    "consumer": r"policy|relay",
    "operation": r"[A-Za-z_]+",
    "status": r"[1-5][0-9]{2}",
    "le": r"[0-9.e+-]+|\+Inf",
    # The files of certificates are configured, so nobody else can add values.
    "certificate": r"[\w./-]+",
    "name": r"(\*\.)?[a-z0-9.-]+",
    "version": r"[0-9]+\.[0-9]+\.[0-9]+\w*",
    "python": r"3\.[0-9]+\.[0-9]+\S*",
    # This is the only label whose values senders can choose. It has at most 20 values: the destinations with the
    # longest queues or the most attempts. The login of a relay host is not part of its name.
    "destination": r"hold|quarantine|(?:domain|mailbox|relay):[^@ ]+",
}


@pytest.mark.parametrize("service", SERVICES)
def test_every_metric_has_a_conventional_name_an_explanation_and_limited_labels(suite: Suite, service: str) -> None:
    with world.smtp(suite) as client:
        for number in range(5):
            client.docmd(f"XYZZY{number}", "alice@ours.test")
    assert suite.api.get("/v1/no-such-path-1").status_code == 404
    found = [metric for metric in scraped(suite, service) if not metric.name.startswith(("python_", "process_"))]
    assert len(found) > 5
    for metric in found:
        assert NAME(metric.name), metric.name
        assert metric.name.startswith(f"posthouse_{service}_")
        assert not metric.name.endswith(NO_UNITS), metric.name
        assert len(metric.documentation) > 10, metric.name
        assert metric.documentation.endswith("."), metric.name
        assert metric.type in ("counter", "gauge", "histogram"), metric.name
        if metric.type == "histogram":
            assert metric.name.endswith(HISTOGRAM_UNITS), metric.name
        series = set()
        for sample in metric.samples:
            assert (metric.type == "counter") == sample.name.endswith("_total"), sample.name
            for label, value in sample.labels.items():
                assert re.fullmatch(LABELS[label], value), (sample.name, label, value)
            series.add(frozenset((label, value) for label, value in sample.labels.items() if label != "le"))
        assert len(series) < 300, metric.name


def value(suite: Suite, service: str, name: str, **labels: str) -> float:
    samples = [sample for metric in scraped(suite, service) for sample in metric.samples]
    return next(sample.value for sample in samples if sample.name == name and sample.labels == labels)


def test_a_revision_without_changes_for_a_service_does_not_make_it_outdated(suite: Suite) -> None:
    """Revision numbers would show relay as outdated for ever, because this change concerns only policy."""

    def newest(service: str) -> bool:
        there = value(suite, "config_api", "posthouse_config_api_snapshot_digest", consumer=service)
        return value(suite, service, f"posthouse_{service}_snapshot_digest") == there

    before = value(suite, "config_api", "posthouse_config_api_snapshot_digest", consumer="policy")
    world.change(suite, "/v1/settings/connection-policy", {"max_concurrent_connections": 49})
    until(
        lambda: value(suite, "config_api", "posthouse_config_api_snapshot_digest", consumer="policy") != before,
        "config_api has another snapshot for policy",
    )
    until(lambda: newest("policy"), "policy uses the new snapshot")
    assert newest("relay")


# Readiness. The test that uses the suite comes last, because it stops the databases.


@pytest.mark.parametrize(
    ("service", "environment", "wanted"),
    [
        ("ingress", {}, {"policy", "relay"}),
        ("policy", {"POLICY_STATE_URL": f"redis://{LOOPBACK}:1/0"}, {"snapshot", "redis"}),
        # This reserve is larger than any disk.
        ("relay", {"RELAY_DISK_RESERVE_MB": "1000000000"}, {"snapshot", "disk"}),
    ],
)
def test_a_service_without_the_others_reports_what_it_waits_for(
    tmp_path: Path, service: str, environment: dict[str, str], wanted: set[str]
) -> None:
    port, nowhere = free_port(), f"{LOOPBACK}:1"
    addresses = {
        "ingress": {
            "INGRESS_POLICY_TARGET": nowhere,
            "INGRESS_RELAY_TARGET": nowhere,
            "INGRESS_SMTP_PORT": str(free_port()),
            "INGRESS_SUBMISSION_PORT": "0",
            "INGRESS_SMTPS_PORT": "0",
        },
        "policy": {"POLICY_CONFIG_TARGET": nowhere},
        "relay": {"RELAY_CONFIG_TARGET": nowhere},
    }
    process = PeerProcess(
        [sys.executable, "-m", f"services.{service}"],
        tmp_path / "log",
        folder=ROOT,
        environment={
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
            "POSTHOUSE_DATA_DIR": str(tmp_path),
            f"{service.upper()}_METRICS_PORT": str(port),
            f"{service.upper()}_LISTEN": f"{LOOPBACK}:0",
            **addresses[service],
            **environment,
        },
    )

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"http://{LOOPBACK}:{port}/readyz", timeout=60, verify=False)
            return answer.status_code == 503 and set(answer.json()["missing"]) == wanted | {"grpc"}
        return False

    try:
        process.until_ready(answers)
    finally:
        process.kill()


def readiness(suite: Suite, service: str) -> tuple[int, dict[str, Any]]:
    port = suite.port("CONFIG_API_PORT" if service == "config_api" else f"{service.upper()}_METRICS_PORT")
    answer = httpx.get(f"http://{suite.host}:{port}/readyz", timeout=60, verify=False)
    return answer.status_code, answer.json()


def missing(suite: Suite, service: str) -> tuple[int, set[str]]:
    status, body = readiness(suite, service)
    return status, set(body["missing"])


def test_readyz_names_the_missing_dependency(suite: Suite, queue_database: Postgres, counters: Redis) -> None:
    for service in SERVICES:
        until(lambda: readiness(suite, service) == (200, {"status": "ready", "missing": {}}), f"{service} is ready")  # noqa: B023
    counters.kill()
    until(
        lambda: missing(suite, "policy") == (200, {"redis"}), "policy reports that Redis does not answer, and is ready"
    )
    assert readiness(suite, "policy")[1]["status"] == "degraded"
    queue_database.kill()
    until(
        lambda: missing(suite, "config_api") == (503, {"database"}),
        "config_api reports that the database does not answer",
    )
    until(lambda: missing(suite, "relay") == (503, {"database"}), "relay reports that the database does not answer")
    assert readiness(suite, "relay")[1]["status"] == "unready"
    suite.kill("policy")
    until(lambda: missing(suite, "ingress") == (503, {"policy"}), "ingress reports that policy does not answer")
    suite.kill("relay")
    until(
        lambda: missing(suite, "ingress") == (503, {"policy", "relay"}),
        "ingress reports that policy and relay do not answer",
    )
    queue_database.start()
    counters.start()
    for service in ("policy", "relay"):
        suite.start_service(service)
    for service in SERVICES:
        until(lambda: missing(suite, service) == (200, set()), f"{service} is ready again")  # noqa: B023
