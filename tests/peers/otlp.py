"""An OpenTelemetry collector that receives spans by OTLP over gRPC and keeps them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.peers.background import DEADLINE_SECONDS, wait_for
from tests.peers.lifetime import Peer
from tests.peers.ports import LOOPBACK, free_port


@dataclass(frozen=True, slots=True)
class Span:
    """One received span. Identifiers are in hexadecimal; `parent` is empty for the root of a trace."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    kind: str
    attributes: dict[str, object]
    # The traces to which this span is linked.
    links: tuple[str, ...]
    failed: bool
    # The time of its beginning, in nanoseconds since 1970.
    began: int
    ended: int

    def __getitem__(self, name: str) -> object:
        """Returns the attribute with this name after the prefix `posthouse.`."""
        return self.attributes[f"posthouse.{name}"]


class Collector(Peer, trace_service_pb2_grpc.TraceServiceServicer):
    """Listens on a free loopback port. A test passes `endpoint` as OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self) -> None:
        self.port = free_port()
        self._changed = threading.Condition()
        self._spans: list[Span] = []
        self._server: grpc.Server | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(2, "collector"))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self._server.add_insecure_port(f"{LOOPBACK}:{self.port}")
        self._server.start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()

    @property
    def spans(self) -> list[Span]:
        """The spans that were received so far."""
        with self._changed:
            return list(self._spans)

    def trace(self, trace: str) -> list[Span]:
        """Returns the spans of one trace in the order in which they began."""
        return sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.began)

    def wait_for(
        self, condition: Callable[[Sequence[Span]], bool], what: str, seconds: float = DEADLINE_SECONDS
    ) -> list[Span]:
        """Blocks until `condition` holds for the received spans. Raises NotReachedError."""
        wait_for(
            self._changed,
            lambda: condition(self._spans),
            lambda: f"{what}; spans so far: {[(span.service, span.name) for span in self._spans]}",
            seconds,
        )
        return self.spans

    def Export(  # noqa: N802
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        found = [
            _span(str(_attributes(resource.resource.attributes).get("service.name")), span)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._changed:
            self._spans += found
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()


def _span(service: str, message: Message) -> Span:
    return Span(
        service=service,
        name=message.name,
        trace=message.trace_id.hex(),
        id=message.span_id.hex(),
        parent=message.parent_span_id.hex(),
        kind=Message.SpanKind.Name(message.kind).removeprefix("SPAN_KIND_").lower(),
        attributes=_attributes(message.attributes),
        links=tuple(link.trace_id.hex() for link in message.links),
        failed=message.status.code == Status.STATUS_CODE_ERROR,
        began=message.start_time_unix_nano,
        ended=message.end_time_unix_nano,
    )


def _attributes(of: Iterable[KeyValue]) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in of}
