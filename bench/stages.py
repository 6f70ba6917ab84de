"""The stages of a service, by the files that do their work: what a sampled stack is counted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_ELSEWHERE = "the event loop, and calls of the kernel"

# service -> what a path below services/ or libs/ begins with -> stage. The innermost frame that is found here decides.
_STAGES: Mapping[str, Mapping[str, str]] = {
    "ingress": {
        "services/ingress/connection.py": "sockets: octets in, replies out",
        "services/ingress/listener.py": "connections: accepted, ended",
        "services/ingress/dialogue.py": "commands",
        "services/ingress/commands/": "commands",
        "services/ingress/session.py": "commands",
        "libs/smtp/": "commands",
        "services/ingress/data.py": "content",
        "services/ingress/content.py": "content",
        "services/ingress/commands/content.py": "content",
        "services/ingress/delivery.py": "header, checks, trace fields",
        "services/ingress/trace.py": "header, checks, trace fields",
        "services/ingress/results.py": "header, checks, trace fields",
        "services/ingress/checks/": "header, checks, trace fields",
        "libs/smtp/header.py": "header, checks, trace fields",
        "services/ingress/clients/": "asking policy, handing to relay",
        "services/ingress/mail_log.py": "log and figures",
        "services/ingress/metrics.py": "log and figures",
        "libs/runtime/logging.py": "log and figures",
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
        "services/policy/verdict_log.py": "log and figures",
        "services/policy/metrics.py": "log and figures",
        "services/policy/hits.py": "log and figures",
        "libs/runtime/logging.py": "log and figures",
    },
    "relay": {
        "services/relay/api/wire/": "frames in and acknowledgements",
        "services/relay/api/servicer.py": "frames in and acknowledgements",
        "services/relay/intake/intake.py": "frames in and acknowledgements",
        "services/relay/routing/recipients.py": "recipients and routes",
        "services/relay/routing/aliases.py": "recipients and routes",
        "services/relay/routing/rules.py": "recipients and routes",
        "services/relay/queue/group_commit.py": "commits, but for the queue's thread",
        "services/relay/queue/": "commits, but for the queue's thread",
        "services/relay/scheduler/dispatcher.py": "whose turn it is",
        "services/relay/delivery/concurrency.py": "whose turn it is",
        "services/relay/delivery/": "SMTP to the next hop",
        "services/relay/scheduler/attempts.py": "outcome and record",
        "services/relay/model/outcome.py": "outcome and record",
        "services/relay/scheduler/settlement.py": "outcome and record",
        "services/relay/scheduler/attempt_log.py": "log and figures",
        "services/relay/metrics.py": "log and figures",
        "libs/runtime/logging.py": "log and figures",
    },
}


def has(service: str) -> bool:
    """Whether its stages are told apart."""
    return service in _STAGES


def shares(service: str, stacks: Iterable[tuple[Sequence[str], int]], root: str) -> list[tuple[str, float]]:
    """The share of each stage in the samples, the greatest first. Frames: `file:line function`, the innermost first."""
    table = _STAGES[service]
    counts: Counter[str] = Counter()
    for stack, count in stacks:
        counts[_stage(table, stack, f"{root}/")] += count
    total = sum(counts.values())
    return [(stage, count / total) for stage, count in counts.most_common()]


def _stage(table: Mapping[str, str], stack: Sequence[str], root: str) -> str:
    for frame in stack:
        path = frame.removeprefix(root)
        known = [prefix for prefix in table if path.startswith(prefix)]
        if known:
            return table[max(known, key=len)]
    return _ELSEWHERE
