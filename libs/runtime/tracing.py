"""Makes traces of spans for an OpenTelemetry collector. Traces are off, and cost nothing, unless the environment names
a collector.

`tracer` is None while traces are off; code that makes spans checks it first. A span contains no more than the log does:
no mail content, no mail address and no credentials.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Literal

import structlog

from libs.runtime.lifecycle import StartupError, at_end

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger(__name__)

Kind = Literal["internal", "server", "client"]
Attribute = str | int | bool

# These are OpenTelemetry's own variables: one variable is enough for all processes, and the SDK also reads its own
# variables for headers, TLS and sampling.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# The longest time for which the end of the process waits for unsent spans.
_FLUSH_SECONDS = 3.0
# W3C Trace Context, section 3.2: version, trace id, span id, flags. An identifier of zeros is invalid.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})").fullmatch


class Span:
    """A span stands for work that takes time. Its child spans in any process refer to its `traceparent`."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def set(self, **attributes: Attribute) -> None:
        """Adds attributes. Their names get the prefix `posthouse.`."""
        self._span.set_attributes(_named(attributes))

    def end(self, error: str = "") -> None:
        """Ends the span. Call it once. `error` says in our own words why the work failed."""
        if error:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


class Tracer:
    """Makes spans."""

    def __init__(self, tracer: trace.Tracer, provider: TracerProvider) -> None:
        self._tracer = tracer
        self._provider = provider

    def start(
        self, name: str, parent: str = "", *, kind: Kind = "internal", link: str = "", **attributes: Attribute
    ) -> Span:
        """Begins a span. `parent` and `link` are traceparents. Without a parent the span begins a trace."""
        from opentelemetry import context, trace

        parent_span = _remote(parent)
        linked_span = _remote(link)
        return Span(
            self._tracer.start_span(
                name,
                # The context is empty, because Posthouse never sets a current context.
                context.Context() if parent_span is None else trace.set_span_in_context(parent_span, context.Context()),
                trace.SpanKind[kind.upper()],
                _named(attributes),
                None if linked_span is None else [trace.Link(linked_span.get_span_context())],
            )
        )

    def close(self) -> None:
        """Sends the remaining spans, for at most a few seconds."""
        # By itself, the exporter would try to reach a collector for longer than the end of a process may take.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_FLUSH_SECONDS)


# Each process has one tracer, just as it has one log.
tracer: Tracer | None = None


def configure(service: str) -> None:
    """Makes the `tracer` of the process, if the environment names a collector. Raises StartupError."""
    global tracer  # noqa: PLW0603 - as above
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), "")
    if not endpoint or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), "grpc")
    if protocol != "grpc":
        raise StartupError("traces are sent by OTLP over gRPC: OTEL_EXPORTER_OTLP_PROTOCOL must be grpc")
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise StartupError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: pip install posthouse[tracing]"
        ) from None
    resource = Resource.create(
        {
            "service.namespace": "posthouse",
            "service.name": service,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = Tracer(provider.get_tracer("posthouse"), provider)
    at_end(shutdown)
    log.info("tracing_enabled")


def shutdown() -> None:
    """Sends the remaining spans, and turns tracing off."""
    global tracer
    closing, tracer = tracer, None
    if closing is not None:
        closing.close()


def well_formed(traceparent: str) -> str:
    """Returns the traceparent from another process, or nothing when it is malformed."""
    return traceparent if _TRACEPARENT(traceparent) else ""


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {f"posthouse.{name}": value for name, value in attributes.items()}


def _remote(traceparent: str) -> trace.Span | None:
    match = _TRACEPARENT(traceparent) if traceparent else None
    if match is None:
        return None
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

    return NonRecordingSpan(
        SpanContext(int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=TraceFlags(int(match[3], 16)))
    )
