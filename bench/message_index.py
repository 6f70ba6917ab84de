"""Measures what the indexes of messages cost when mail is accepted: `python -m bench.message_index [--rounds N]
[--postgresql]`.

The whole suite accepts and delivers mail, in rounds with the indexes by Message-ID and by time, and in rounds without
them. Neighbouring rounds are compared, so that other load on the machine affects both. The figures are the CPU time of
all services and of PostgreSQL, and the time until the last message is accepted.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from bench.gateways import Posthouse, Task
from bench.load import Sinks, send
from bench.processes import total_cpu
from bench.workloads import RECIPIENT_DOMAIN, Workload

_MESSAGES = 2000
_WARM_UP = 500
_WORKLOAD = Workload("indexes", 4096, _MESSAGES, keep_connection=True)
_DROP = ("DROP INDEX IF EXISTS messages_message_id", "DROP INDEX IF EXISTS messages_received")
_CREATE = (
    "CREATE INDEX IF NOT EXISTS messages_message_id ON messages (message_id_key) WHERE message_id_key IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS messages_received ON messages (received_at, id)",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--postgresql", action="store_true")
    arguments = parser.parse_args()
    gateway = Posthouse()
    with Sinks((RECIPIENT_DOMAIN,)) as sinks:
        try:
            gateway.start(Task(sinks.next_hops, postgresql=arguments.postgresql))
            send(_WORKLOAD, _WARM_UP, gateway)
            sinks.wait_for(_WARM_UP)
            _compare(gateway, sinks, arguments.rounds)
        finally:
            gateway.stop()


def _compare(gateway: Posthouse, sinks: Sinks, rounds: int) -> None:
    cpu: list[float] = []
    seconds: list[float] = []
    sent = _WARM_UP
    for number in range(rounds):
        results: dict[bool, tuple[float, float]] = {}
        # The order changes with every round: the first round begins without the indexes, and the next one with them.
        for has_index in (True, False) if number % 2 else (False, True):
            for statement in _CREATE if has_index else _DROP:
                gateway.change_queue(statement)
            before = total_cpu(gateway.processes())
            took, _ = send(_WORKLOAD, _MESSAGES, gateway)
            sent += _MESSAGES
            sinks.wait_for(sent)
            after = total_cpu(gateway.processes())
            results[has_index] = (sum(after.values()) - sum(before.values()), took)
        cpu.append(results[True][0] / results[False][0])
        seconds.append(results[True][1] / results[False][1])
        sys.stdout.write(
            f"with and without: CPU {1e6 * results[True][0] / _MESSAGES:.0f} and "
            f"{1e6 * results[False][0] / _MESSAGES:.0f} us a message, ratio {cpu[-1]:.3f}; time {seconds[-1]:.3f}\n"
        )
        sys.stdout.flush()
    sys.stdout.write(
        f"medians of {rounds} pairs: CPU {statistics.median(cpu):.3f}, time {statistics.median(seconds):.3f}\n"
    )


if __name__ == "__main__":
    main()
