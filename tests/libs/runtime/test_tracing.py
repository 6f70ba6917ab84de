"""Traces are off by default, never delay the process, and accept only trace contexts of the W3C format."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import pytest

from libs.runtime import tracing
from libs.runtime.lifecycle import StartupError
from tests.peers.otlp import Collector
from tests.peers.ports import LOOPBACK, free_port

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    tracing.shutdown()


def tracer() -> tracing.Tracer:
    assert tracing.tracer is not None
    return tracing.tracer


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1"},
    ],
)
def test_traces_are_off_by_default(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    tracing.configure("relay")
    assert tracing.tracer is None


def test_another_protocol_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with pytest.raises(StartupError, match="grpc"):
        tracing.configure("relay")


def test_the_error_names_the_missing_package_when_the_extra_is_not_installed(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ImportError(name)
        return real(name, *rest, **named)

    environment.setattr(builtins, "__import__", without)
    with pytest.raises(StartupError, match=r"posthouse\[tracing\]"):
        tracing.configure("relay")


def test_spans_arrive_with_parent_link_and_attributes(environment: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        environment.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.endpoint)
        tracing.configure("relay")
        below = tracer().start("relay.submit", PARENT, kind="server", link=PARENT.replace("4bf9", "5bf9"), size=5)
        below.set(queue_id="1A")
        below.end(error="full")
        alone = tracer().start("relay.attempt", "no traceparent at all")
        alone.end()
        # Spans that are not sent yet are sent at the end of the process.
        tracing.shutdown()
        first, second = collector.wait_for(lambda spans: len(spans) == 2, "both spans have come")
    assert (first.service, first.name, first.kind) == ("relay", "relay.submit", "server")
    assert (first.trace, first.parent) == (PARENT[3:35], PARENT[36:52])
    assert below.traceparent == f"00-{first.trace}-{first.id}-01"
    assert first.links == (PARENT.replace("4bf9", "5bf9")[3:35],)
    assert (first["size"], first["queue_id"], first.failed) == (5, "1A", True)
    assert (second.parent, second.failed) == ("", False)
    assert second.trace != first.trace


def test_spans_of_unsampled_traces_are_not_sent(environment: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        tracing.configure("relay")
        left_out = tracer().start("relay.submit", PARENT[:-2] + "00")
        assert left_out.traceparent.endswith("-00")
        left_out.end()
        tracer().start("relay.attempt").end()
        tracing.shutdown()
        assert [span.name for span in collector.wait_for(lambda spans: bool(spans), "one span has come")] == [
            "relay.attempt"
        ]


def test_an_unreachable_collector_does_not_delay_the_end(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(tracing, "_FLUSH_SECONDS", 0.2)
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{LOOPBACK}:{free_port()}")
    tracing.configure("relay")
    for _ in range(10):
        tracer().start("relay.submit").end()
    tracing.shutdown()
    assert tracing.tracer is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (PARENT, PARENT),
        ("", ""),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", ""),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01", ""),
        (PARENT.upper(), ""),
        (PARENT + "\n", ""),
        (PARENT + "-more", ""),
        ("ff" + PARENT[2:], ""),
        ("x" * 10_000, ""),
    ],
)
def test_only_a_valid_traceparent_is_used(given: str, kept: str) -> None:
    assert tracing.well_formed(given) == kept
