"""Measures the cost of a site's handler in ingress: CPU time per message without one, and with handlers that do almost
nothing.

`python -m bench.ingress_handler [--messages 3000] [--sessions 20] [--rounds 5] [--beside FOLDER]`; needs smtp-source.
`--beside` is another checkout, for example of the commit before a change. Its ingress accepts the same messages without
a handler. Only ratios within one run are meaningful.
"""

from __future__ import annotations

import argparse
import json
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.ingress_accept import Target, load, targets

_OCTETS = 4 * 1024
_HERE = "bench.ingress_handler"


class Nothing:
    """A handler without hooks, like aiosmtpd's Sink."""


class Accepting:
    """A handler with hooks for MAIL, RCPT and DATA, each of which accepts at once."""

    async def handle_MAIL(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802
        return "250 OK"


def measure(messages: int, sessions: int, rounds: int, beside: Path | None) -> None:
    """Prints the median for each handler, and its ratio to the median without a handler."""
    handlers = {
        "none": "",
        "no hooks": "bench.ingress_handler:Nothing",
        "three hooks": "bench.ingress_handler:Accepting",
    }
    with ExitStack() as stack:
        running: dict[str, Target] = {}
        for name, handler in handlers.items():
            running[name] = stack.enter_context(targets(INGRESS_HANDLER=handler))[0]
        if beside is not None:
            running["none, in the other checkout"] = stack.enter_context(targets(checkout=beside))[0]
        for reuse in (False, True):
            figures: dict[str, list[float]] = {name: [] for name in running}
            for number in range(rounds + 1):
                for name, target in running.items():
                    figure = load(target, messages=messages, sessions=sessions, size=_OCTETS, reuse=reuse)
                    if number:
                        # The first round is only for warming up.
                        figures[name].append(figure.cpu_ms)
            base = statistics.median(figures["none"])
            for name, found in figures.items():
                median = statistics.median(found)
                row = {"handler": name, "per_connection": "many" if reuse else "one", "cpu_ms": round(median, 4)}
                print(json.dumps({**row, "ratio": round(median / base, 3)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beside", type=Path)
    arguments = parser.parse_args()
    measure(arguments.messages, arguments.sessions, arguments.rounds, arguments.beside)


if __name__ == "__main__":
    main()
