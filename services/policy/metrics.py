"""The metrics of policy. Decisions are counted in plain tables, which are converted only when the metrics are
requested.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry

from libs.runtime.configuration_watch import SnapshotMetrics
from libs.runtime.metrics import show_build
from services.policy.rules.model import Action, ShadowOutcome, Stage, Verdict

show_build("policy")
GRPC_CALLS_REFUSED = Counter(
    "posthouse_policy_grpc_calls_refused",
    "gRPC calls that were refused because the caller was not allowed to make them.",
)
CERTIFICATE_EXPIRY = Gauge(
    "posthouse_policy_certificate_expiry_timestamp_seconds",
    "When the first certificate of the file expires.",
    ["certificate"],
)
STORE_FAILURES = Counter(
    "posthouse_policy_store_failures_total",
    "Counters that could not be read or changed, so that the rules that need them were skipped.",
    ["counter"],
)
STORE_UP = Gauge(
    "posthouse_policy_store_up",
    "1 while the store of counters answers; 0 while it does not, and rules about rates are skipped.",
)
STORE_UP.set(1)
LOOKUP_SECONDS = Histogram(
    "posthouse_policy_lookup_seconds",
    "Time of look-ups whose answer was not in the cache.",
    ["lookup", "outcome"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 4, 8, 20),
)
LOOKUPS_REFUSED = Counter(
    "posthouse_policy_lookups_refused_total", "Look-ups that were not made because too many were running."
)
DNSBL_ZONE_BROKEN = Gauge(
    "posthouse_policy_dnsbl_zone_broken",
    "1 while the zone is not used, because it lists the test entry that is never listed, or gives unusual answers.",
    ["zone"],
)
SNAPSHOT = SnapshotMetrics("policy")
BLOCKED_CLIENTS = Gauge(
    "posthouse_policy_blocked_clients",
    "Clients that are blocked now, up to 1000; replicas with one Redis show the same.",
)
STREAMS = Gauge("posthouse_policy_streams", "Open decision streams.")
REFUSALS_UNLOGGED = Counter(
    "posthouse_policy_refusals_unlogged_total",
    "Refusals without a line in the log, because there were too many of them.",
)
HITS_UNREPORTED = Gauge(
    "posthouse_policy_rule_hits_unreported", "Rules with hits that were not reported to config_api yet."
)
AUTH_OUTCOMES = Counter("posthouse_policy_auth_total", "Login attempts by outcome.", ["outcome"])
OVERLOADED = Counter(
    "posthouse_policy_overloaded_total", "Decisions that were answered with 451 because too many were waiting."
)


class DecisionCounts(Collector):
    """Counts decisions by stage, action and reason, and shadow outcomes by reason."""

    def __init__(self) -> None:
        self._decisions: defaultdict[tuple[int, Action, str], int] = defaultdict(int)
        self._shadow: defaultdict[str, int] = defaultdict(int)

    def count(self, stage: int, verdict: Verdict) -> None:
        self._decisions[stage, verdict.action, verdict.reason_id] += 1
        if verdict.shadow:
            self._count_shadow(verdict.shadow)

    def _count_shadow(self, outcomes: tuple[ShadowOutcome, ...]) -> None:
        for outcome in outcomes:
            self._shadow[outcome.reason_id] += 1

    def register(self, registry: CollectorRegistry = REGISTRY) -> Callable[[], None]:
        """Registers a collector for the counts. The returned function removes it."""
        registry.register(self)
        return lambda: registry.unregister(self)

    def collect(self) -> Iterator[Metric]:
        decisions = CounterMetricFamily(
            "posthouse_policy_decisions",
            "Decisions by the rule that made them. Without a reason, no rule matched.",
            labels=["stage", "action", "reason"],
        )
        for (stage, action, reason), count in list(self._decisions.items()):
            decisions.add_metric([Stage(stage).name.lower(), action.name.lower(), reason], count)
        yield decisions
        shadow = CounterMetricFamily(
            "posthouse_policy_shadow", "Refusals that rules in shadow mode would have made.", labels=["reason"]
        )
        for reason, count in list(self._shadow.items()):
            shadow.add_metric([reason], count)
        yield shadow
