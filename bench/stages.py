"""Assigns sampled stacks to stages of a service's work, by source file. Each stack is counted for one stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_ELSEWHERE = "the event loop, and calls of the kernel"

# The stage of each source file, by the beginning of its path, for each service. The innermost frame of a stack that
# matches a path decides.
_STAGES: Mapping[str, Mapping[str, str]] = {
    "ingress": {
        "services/ingress/connection.py": "sockets: octets in, replies out",
        "services/ingress/listener.py": "connections: accepted, ended",
        "services/ingress/smtp_session.py": "commands",
        "services/ingress/commands/": "commands",
        "services/ingress/session.py": "commands",
        "libs/smtp/": "commands",
        "services/ingress/data.py": "content",
        "services/ingress/content.py": "content",
        "services/ingress/commands/content.py": "content",
        "services/ingress/end_of_data.py": "header, checks, trace fields",
        "services/ingress/trace.py": "header, checks, trace fields",
        "services/ingress/authentication_results.py": "header, checks, trace fields",
        "services/ingress/checks/": "header, checks, trace fields",
        "libs/smtp/header.py": "header, checks, trace fields",
        "services/ingress/clients/": "asking policy, handing to relay",
        "services/ingress/mail_log.py": "log and metrics",
        "services/ingress/metrics.py": "log and metrics",
        "libs/runtime/logging.py": "log and metrics",
    },
    "policy": {
        "services/policy/servicer.py": "frames",
        "services/policy/wire.py": "from and to the contract",
        "services/policy/engine.py": "facts, findings, verdict",
        "services/policy/rules/": "rules",
        "services/policy/snapshot.py": "rules",
        "services/policy/state/": "counters",
        "services/policy/lookups/": "look-ups",
        "services/policy/credentials.py": "passwords",
        "services/policy/history.py": "record for Explain",
        "services/policy/verdict_log.py": "log and metrics",
        "services/policy/metrics.py": "log and metrics",
        "services/policy/hits.py": "log and metrics",
        "libs/runtime/logging.py": "log and metrics",
    },
    "relay": {
        "services/relay/api/wire/": "frames in and acknowledgements",
        "services/relay/api/servicer.py": "frames in and acknowledgements",
        "services/relay/intake/intake.py": "frames in and acknowledgements",
        "services/relay/routing/recipients.py": "recipients and routes",
        "services/relay/routing/aliases.py": "recipients and routes",
        "services/relay/routing/rules.py": "recipients and routes",
        "services/relay/queue/group_commit.py": "commits, without the queue's thread",
        "services/relay/queue/": "commits, without the queue's thread",
        "services/relay/scheduler/dispatcher.py": "scheduling",
        "services/relay/delivery/concurrency.py": "scheduling",
        "services/relay/delivery/": "SMTP to the next hop",
        "services/relay/scheduler/attempts.py": "outcome and record",
        "services/relay/model/outcome.py": "outcome and record",
        "services/relay/scheduler/settlement.py": "outcome and record",
        "services/relay/scheduler/attempt_log.py": "log and metrics",
        "services/relay/metrics.py": "log and metrics",
        "libs/runtime/logging.py": "log and metrics",
    },
}


def has(service: str) -> bool:
    """Whether there is a table of stages for a service."""
    return service in _STAGES


def shares(service: str, stacks: Iterable[tuple[Sequence[str], int]], root: str) -> list[tuple[str, float]]:
    """Returns the share of each stage in the samples, the largest first.

    `stacks` has the frames of each sample as `file:line function`, the innermost first, and how often the sample was
    seen.
    """
    table = _STAGES[service]
    counts: Counter[str] = Counter()
    for stack, count in stacks:
        counts[_stage(table, stack, f"{root}/")] += count
    total = sum(counts.values())
    return [(stage, count / total) for stage, count in counts.most_common()]


def _stage(table: Mapping[str, str], stack: Sequence[str], root: str) -> str:
    for frame in stack:
        path = frame.removeprefix(root)
        prefixes = [prefix for prefix in table if path.startswith(prefix)]
        if prefixes:
            return table[max(prefixes, key=len)]
    return _ELSEWHERE
