"""The metrics of one worker. They are plain numbers, which prometheus_client reads only when it is asked.

This module replaces prometheus_client's own counters, because they are slow where every command is counted:
`Counter.inc` acquires a lock and needs six times as long as `+=` on a value in a dict, and `Histogram.observe` needs
ten times as long as the method in this module. A short message causes some thirty counts and six observations, which
would cost about a tenth of the CPU time that ingress needs for such a message.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from libs.runtime.certificates import CertificateFacts
from libs.runtime.metrics import BUILD_INFO_HELP, build_labels

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Histogram:
    """A histogram of durations in seconds, with fixed buckets."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Returns cumulative counts, which the exposition format needs."""
        running = 0
        cumulative: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, _SECONDS), "+Inf"), self.counts, strict=True):
            running += count
            cumulative.append((bound, running))
        return cumulative


def _numbers() -> defaultdict[str, int]:
    return defaultdict(int)


@dataclass(slots=True)
class Metrics:
    """All metrics. The keys are label values of a bounded set, and never text from a client."""

    sessions: defaultdict[str, int] = field(default_factory=_numbers)
    sessions_refused: defaultdict[str, int] = field(default_factory=_numbers)
    sessions_ended: defaultdict[str, int] = field(default_factory=_numbers)
    commands: defaultdict[str, int] = field(default_factory=_numbers)
    replies: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    messages: defaultdict[str, int] = field(default_factory=_numbers)
    octets_received: int = 0
    octets_sent: int = 0
    # The key is the stage.
    policy_seconds: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    policy_failures: defaultdict[str, int] = field(default_factory=_numbers)
    relay_seconds: Histogram = field(default_factory=Histogram)
    relay_failures: int = 0
    refusals_dropped: int = 0
    grpc_calls_refused: int = 0

    data_seconds: Histogram = field(default_factory=Histogram)
    checks: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    check_seconds: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    # The key is (hook, outcome).
    handler_calls: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    handler_seconds: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    certificate_failures: int = 0
    handshake_failures: int = 0

    def grpc_call_refused(self) -> None:
        self.grpc_calls_refused += 1


class MetricsCollector(Collector):
    """Gives `metrics` and present values to prometheus_client. `open_sessions` returns the number of sessions by
    listener and state. `streams` tells whether the streams to policy and relay are open. `certificates` returns the
    certificates in use.
    """

    def __init__(
        self,
        metrics: Metrics,
        open_sessions: Callable[[], dict[tuple[str, str], int]],
        streams: Callable[[], dict[str, bool]],
        certificates: Callable[[], Sequence[CertificateFacts]],
    ) -> None:
        self._metrics = metrics
        self._open_sessions = open_sessions
        self._streams = streams
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        m = self._metrics
        yield _by_label("posthouse_ingress_sessions", "Connections accepted.", "listener", m.sessions)
        yield _by_label(
            "posthouse_ingress_sessions_refused", "Connections refused before policy.", "reason", m.sessions_refused
        )
        yield _by_label(
            "posthouse_ingress_sessions_ended", "Connections that ended, by reason.", "reason", m.sessions_ended
        )
        yield _by_label(
            "posthouse_ingress_commands",
            "Commands by verb; all invalid commands count as one verb.",
            "verb",
            m.commands,
        )
        yield _by_label(
            "posthouse_ingress_replies",
            "Replies by code.",
            "code",
            {str(code): count for code, count in m.replies.items()},
        )
        yield _by_label(
            "posthouse_ingress_messages",
            "Messages whose content was received, by outcome.",
            "outcome",
            m.messages,
        )
        yield CounterMetricFamily("posthouse_ingress_received_bytes", "Octets from clients.", value=m.octets_received)
        yield CounterMetricFamily("posthouse_ingress_sent_bytes", "Octets to clients.", value=m.octets_sent)
        yield _histograms("posthouse_ingress_policy_seconds", "Time until policy's verdict.", "stage", m.policy_seconds)
        yield _by_label("posthouse_ingress_policy_failures", "Decisions without a verdict.", "stage", m.policy_failures)
        yield _histogram("posthouse_ingress_relay_seconds", "Time until relay's acknowledgement.", m.relay_seconds)
        yield CounterMetricFamily(
            "posthouse_ingress_relay_failures", "Messages that relay did not store.", value=m.relay_failures
        )
        yield CounterMetricFamily(
            "posthouse_ingress_grpc_calls_refused",
            "gRPC calls that were refused because the caller was not allowed to make them.",
            value=m.grpc_calls_refused,
        )
        yield CounterMetricFamily(
            "posthouse_ingress_refusals_dropped",
            "Refusals that were not recorded in relay's history, because too many were waiting.",
            value=m.refusals_dropped,
        )
        yield _histogram(
            "posthouse_ingress_data_seconds", "Time from 354 or the first BDAT to the end of data.", m.data_seconds
        )
        yield CounterMetricFamily(
            "posthouse_ingress_certificate_failures",
            "Certificate pairs that could not be loaded.",
            value=m.certificate_failures,
        )
        yield CounterMetricFamily(
            "posthouse_ingress_handshake_failures", "TLS handshakes that failed.", value=m.handshake_failures
        )
        checks = CounterMetricFamily(
            "posthouse_ingress_checks", "Content checks by outcome.", labels=("check", "outcome")
        )
        for labels, count in m.checks.items():
            checks.add_metric(labels, count)
        yield checks
        yield _histograms("posthouse_ingress_check_seconds", "Time of a content check.", "check", m.check_seconds)
        hooks = CounterMetricFamily(
            "posthouse_ingress_handler_calls",
            "Calls of the hooks of the site's handler, by outcome.",
            labels=("hook", "outcome"),
        )
        for labels, count in m.handler_calls.items():
            hooks.add_metric(labels, count)
        yield hooks
        yield _histograms("posthouse_ingress_handler_seconds", "Time of a hook.", "hook", m.handler_seconds)
        gauge = GaugeMetricFamily(
            "posthouse_ingress_open_sessions", "Connections open now.", labels=("listener", "state")
        )
        for labels, count in self._open_sessions().items():
            gauge.add_metric(labels, count)
        yield gauge
        streams = GaugeMetricFamily(
            "posthouse_ingress_stream_up",
            "1 while the stream to this service is open, otherwise 0.",
            labels=("service",),
        )
        for service, is_open in self._streams().items():
            streams.add_metric((service,), int(is_open))
        yield streams
        ends = GaugeMetricFamily(
            "posthouse_ingress_certificate_expiry_timestamp_seconds",
            "When the first certificate of the loaded file expires.",
            labels=("certificate",),
        )
        for certificate in self._certificates():
            ends.add_metric((str(certificate.file),), certificate.expiry)
        yield ends
        names = GaugeMetricFamily(
            "posthouse_ingress_certificate_name_info",
            "1 if the certificate of the file is valid for the name, otherwise 0.",
            labels=("certificate", "name"),
        )
        for certificate in self._certificates():
            for name in certificate.names:
                names.add_metric((str(certificate.file), name), 1)
        yield names
        build = build_labels()
        info = GaugeMetricFamily("posthouse_ingress_build_info", BUILD_INFO_HELP, labels=tuple(build))
        info.add_metric(tuple(build.values()), 1)
        yield info


def _by_label(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, text)
    family.add_metric((), histogram.buckets(), histogram.total)
    return family


def _histograms(name: str, text: str, label: str, histograms: dict[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=(label,))
    for value, histogram in histograms.items():
        family.add_metric((value,), histogram.buckets(), histogram.total)
    return family
