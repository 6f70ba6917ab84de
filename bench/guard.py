"""Guards against slower code: compares the CPU time of each service for one message with known figures, in units of a
calibration loop.

`python -m bench.guard` ends with 1 when a service uses more than `--margin` (2) times the figure in bench/guard.json.
`--update` writes new figures into that file. CPU time is compared rather than elapsed time, because other load on the
machine hardly changes it. A faster or slower processor changes both sides of the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from bench.gateways import Posthouse, Task
from bench.load import Sinks, send
from bench.processes import total_cpu
from bench.workloads import RECIPIENT_DOMAIN, Workload

FIGURES = Path(__file__).with_name("guard.json")
SERVICES = ("ingress", "policy", "relay")
_WORKLOAD = Workload("guard", 4096, 1500, keep_connection=True)
_WARM_UP = 300
_ROUNDS = 5
_STEPS = 200_000


class _Cell:
    __slots__ = ("count", "name")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.count = 0


def calibration() -> float:
    """Returns the CPU seconds of a fixed piece of work that is similar to that of the services: objects, attributes,
    dictionaries, small octet strings.
    """
    known: dict[bytes, _Cell] = {}
    began = time.process_time()
    for number in range(_STEPS):
        cell = _Cell(b"%d" % (number % 997))
        cell = known.setdefault(cell.name, cell)
        cell.count += len(cell.name.split(b"1"))
    return time.process_time() - began


def measure() -> dict[str, float]:
    """Returns the CPU time of each service for 1,000 messages, as a multiple of the CPU time of the calibration."""
    calibrated = [calibration() for _ in range(_ROUNDS)]
    gateway = Posthouse()
    with Sinks((RECIPIENT_DOMAIN,)) as sinks:
        try:
            gateway.start(Task(sinks.next_hops))
            send(_WORKLOAD, _WARM_UP, gateway)
            sinks.wait_for(_WARM_UP)
            before = total_cpu(gateway.processes())
            send(_WORKLOAD, _WORKLOAD.messages, gateway)
            sinks.wait_for(_WARM_UP + _WORKLOAD.messages)
            after = total_cpu(gateway.processes())
        finally:
            gateway.stop()
    calibrated += [calibration() for _ in range(_ROUNDS)]
    unit = statistics.median(calibrated) * _WORKLOAD.messages / 1000
    return {service: (after[service] - before[service]) / unit for service in SERVICES}


def judge(measured: Mapping[str, float], committed: Mapping[str, float], margin: float) -> list[str]:
    """Returns a line for each service that used too much CPU time, or that was measured but has no committed figure."""
    wrong = []
    for service, value in measured.items():
        figure = committed.get(service)
        if figure is None:
            wrong.append(f"{service}: no figure in {FIGURES.name}")
        elif value > margin * figure:
            wrong.append(f"{service}: {value:.2f}, more than {margin:g} times the committed {figure:.2f}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("--margin", type=float, default=2.0, help="how many times the committed figure is too much (2)")
    parser.add_argument("--update", action="store_true", help="write the figures measured now to bench/guard.json")
    arguments = parser.parse_args()
    measured = measure()
    for service, value in measured.items():
        print(f"{service}: {value:.2f} calibration loops of CPU for 1,000 messages")
    if arguments.update:
        rounded = {service: round(value, 2) for service, value in measured.items()}
        FIGURES.write_text(json.dumps(rounded, indent=2) + "\n")
        return
    wrong = judge(measured, json.loads(FIGURES.read_text()), arguments.margin)
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
