"""The metrics of relay."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from heapq import nlargest
from ipaddress import ip_address

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

from libs.runtime.configuration_watch import SnapshotMetrics
from libs.runtime.metrics import show_build

show_build("relay")
GRPC_CALLS_REFUSED = Counter(
    "posthouse_relay_grpc_calls_refused",
    "gRPC calls that were refused because the caller was not allowed to make them.",
)
CERTIFICATE_EXPIRY = Gauge(
    "posthouse_relay_certificate_expiry_timestamp_seconds",
    "When the first certificate of the file expires.",
    ["certificate"],
)
SUBMISSIONS = Counter("posthouse_relay_submissions", "Submissions by result.", ["result"])
COMMIT_SECONDS = Histogram(
    "posthouse_relay_commit_seconds",
    "Time of one group commit.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
COMMIT_SIZE = Histogram(
    "posthouse_relay_commit_messages",
    "Messages stored or settled in one commit.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 500),
)
COMMIT_FAILURES = Counter("posthouse_relay_commit_failures", "Commits that failed.", ["reason"])
ATTEMPTS = Counter("posthouse_relay_attempts", "Attempts at a recipient, by result.", ["result"])
DELIVERY_SECONDS = Histogram(
    "posthouse_relay_delivery_seconds",
    "Time from storing a message to its delivery to a recipient.",
    buckets=(0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0, 1800.0, 7200.0, 43200.0, 172800.0),
)
LOOKUPS = Counter("posthouse_relay_lookups", "DNS look-ups whose answer was not in the cache.", ["kind", "outcome"])
LEASES_LOST = Counter(
    "posthouse_relay_leases_lost", "Deliveries whose outcome could not be recorded because their lease was lost."
)
LEASES_FREED = Counter("posthouse_relay_leases_freed", "Deliveries whose lease was freed because its worker had died.")
# The series exist from the start, because Prometheus sees no increase when a series appears with its first count.
for _reason in ("full", "unavailable", "error"):
    COMMIT_FAILURES.labels(_reason)
RECIPIENTS_VERIFIED = Counter(
    "posthouse_relay_recipients_verified", "Recipients that ingress asked relay to verify, by result.", ["result"]
)
REPORTS = Counter("posthouse_relay_reports", "Delivery status notifications that were made.", ["kind"])
REFUSALS_DROPPED = Counter(
    "posthouse_relay_refusals_dropped", "Refused messages that were not recorded in the history."
)
QUARANTINED = Counter(
    "posthouse_relay_quarantined", "Deliveries that were set aside because their row or content cannot be read."
)
BACKLOG = Gauge("posthouse_relay_backlog", "Deliveries in memory: those that are being tried and those that are next.")
BACKLOG_BYTES = Gauge("posthouse_relay_backlog_bytes", "Size of the content of the deliveries in memory.")
QUEUE_DELIVERIES = Gauge(
    "posthouse_relay_queue_deliveries",
    "Deliveries in the whole queue by state. Replicas with one database show the same.",
    ["state"],
)
QUEUE_DESTINATION_DELIVERIES = Gauge(
    "posthouse_relay_queue_destination_deliveries",
    "Waiting deliveries by state, of the 20 destinations with the most. Replicas with one database show the same.",
    ["destination", "state"],
)
QUEUE_OLDEST_AGE = Gauge(
    "posthouse_relay_queue_oldest_age_seconds",
    "Age of the oldest message in the whole queue, or 0 when the queue is empty.",
)
STORAGE_AVAILABLE = Gauge(
    "posthouse_relay_storage_available_bytes",
    "Space for mail above the reserve. It is +Inf where it can't be measured.",
)
STORAGE_ACCEPTING = Gauge(
    "posthouse_relay_storage_accepting",
    "1 while mail is accepted. 0 while the space is below the reserve and mail is refused with 452.",
)
SNAPSHOT = SnapshotMetrics("relay")
SWEPT = Counter(
    "posthouse_relay_swept",
    "Work of the sweep: deliveries that expired, delay notices, messages removed from the history.",
    ["what"],
)

# The number of destinations whose attempts are counted, and the number of these that are shown.
_COUNTED_DESTINATIONS = 1_000
_SHOWN_DESTINATIONS = 20
_PERIOD_SECONDS = 600.0


class _DestinationTally:
    """The attempts at one destination since the start, by result, and their number at the ends of the last two
    periods.
    """

    __slots__ = ("at_last_end", "at_previous_end", "by_result", "total")

    def __init__(self) -> None:
        self.by_result: dict[str, int] = {}
        self.total = self.at_last_end = self.at_previous_end = 0

    @property
    def recent(self) -> int:
        return self.total - self.at_previous_end


class DestinationAttempts(Collector):
    """Attempts by destination and result, of the 20 destinations with the most attempts in the last 10 to 20 minutes.

    The number of series and the memory are bounded, although senders choose the destinations.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tallies: dict[str, _DestinationTally] = {}
        self._period_began_at = clock()

    def add(self, destination: str, result: str) -> None:
        """Counts one attempt at a recipient."""
        tally = self._tallies.get(destination)
        if tally is None:
            tally = self._begin(destination)
        tally.by_result[result] = tally.by_result.get(result, 0) + 1
        tally.total += 1

    def collect(self) -> Iterator[Metric]:
        if self._clock() - self._period_began_at >= _PERIOD_SECONDS:
            self._end_period()
        family = CounterMetricFamily(
            "posthouse_relay_destination_attempts",
            "Attempts at a recipient by result, at the 20 destinations with the most attempts in the last 10 to 20 "
            "minutes.",
            labels=("destination", "result"),
        )
        attempts: Tally[tuple[str, str]] = Tally()
        for destination, tally in nlargest(_SHOWN_DESTINATIONS, self._tallies.items(), key=lambda item: item[1].recent):
            for result, count in tally.by_result.items():
                attempts[without_login(destination), result] += count
        for labels, count in attempts.items():
            family.add_metric(labels, count)
        yield family

    def _begin(self, destination: str) -> _DestinationTally:
        if len(self._tallies) >= _COUNTED_DESTINATIONS:
            # Half of the entries are removed at once, so that the search for the busiest destinations is rare.
            busiest = nlargest(_COUNTED_DESTINATIONS // 2, self._tallies.items(), key=lambda item: item[1].recent)
            self._tallies = dict(busiest)
        self._tallies[destination] = tally = _DestinationTally()
        return tally

    def _end_period(self) -> None:
        self._period_began_at = self._clock()
        for tally in self._tallies.values():
            tally.at_previous_end, tally.at_last_end = tally.at_last_end, tally.total


DESTINATION_ATTEMPTS = DestinationAttempts()
REGISTRY.register(DESTINATION_ATTEMPTS)


def without_login(destination: str) -> str:
    """Returns the destination as a label of a metric. `relay:host:port:login` loses its login, and all other names do
    not change.
    """
    kind, _, place = destination.partition(":")
    if kind != "relay":
        return destination
    host, _, last = place.rpartition(":")
    ends_in_port = last.isdecimal() and (":" not in host or _is_address(host))
    return destination if ends_in_port else f"relay:{host}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
