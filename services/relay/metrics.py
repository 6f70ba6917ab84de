"""What relay counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SUBMISSIONS = Counter("posthouse_relay_submissions", "Submissions, by what they came to.", ["result"])
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
DELIVERIES = Counter("posthouse_relay_deliveries", "Attempts at a recipient, by their result.", ["result"])
LEASES_LOST = Counter("posthouse_relay_leases_lost", "Deliveries that could not be settled since their lease was lost.")
LEASES_FREED = Counter("posthouse_relay_leases_freed", "Deliveries freed from a worker that died.")
REPORTS = Counter("posthouse_relay_reports", "Delivery status notifications made.", ["kind"])
REFUSALS_DROPPED = Counter("posthouse_relay_refusals_dropped", "Refused messages that the history has no record of.")
QUARANTINED = Counter("posthouse_relay_quarantined", "Deliveries put aside since their row or content can't be read.")
BACKLOG = Gauge("posthouse_relay_backlog", "Deliveries in memory: being tried, or next.")
BACKLOG_OCTETS = Gauge("posthouse_relay_backlog_octets", "Content of those.")
STORAGE_AVAILABLE = Gauge("posthouse_relay_storage_available_octets", "Space for mail above the reserve.")
SWEPT = Counter("posthouse_relay_swept", "Done since its time had come.", ["what"])
