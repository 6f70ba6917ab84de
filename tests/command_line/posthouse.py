"""Runs the console script as an operator does."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.peers.suite import ROOT, Suite


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


class CommandLine:
    """`posthouse …` with the address and the key of a suite in the environment; `variables` win over those."""

    def __init__(self, suite: Suite | None = None, **variables: str) -> None:
        own = {"POSTHOUSE_URL": suite.api_url, "POSTHOUSE_KEY": suite.admin_key} if suite is not None else {}
        self._environment: Mapping[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("POSTHOUSE_")},
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "proto", ROOT / "clients" / "python"))),
            "COLUMNS": "80",
            **own,
            **variables,
        }

    def run(self, *arguments: str, stdin: str = "") -> Outcome:
        """The outcome of a command, whatever it is."""
        process = subprocess.run(
            [sys.executable, "-m", "services", *arguments],
            cwd=ROOT,
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return Outcome(process.returncode, process.stdout, process.stderr)

    def at_terminal(self, *arguments: str, answers: Mapping[str, str]) -> Outcome:
        """The outcome of a command at a terminal, where `answers` are typed after the prompts that end with their keys.

        All that the terminal shows, what is typed and echoed too, is the output.
        """
        main, other = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "services", *arguments],
            cwd=ROOT,
            env=self._environment,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        shown, left = "", dict(answers)
        # A terminal whose last process has closed it gives an error to who reads.
        with os.fdopen(main, "r+b", buffering=0) as terminal, contextlib.suppress(OSError):
            while octets := terminal.read(4096):
                shown += octets.decode(errors="replace")
                for prompt in [each for each in left if shown.rstrip().endswith(each)]:
                    terminal.write(f"{left.pop(prompt)}\n".encode())
        return Outcome(process.wait(timeout=100), shown, "")

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What a command that does its work writes."""
        outcome = self.run(*arguments, stdin=stdin)
        assert outcome.status == 0, f"{arguments}: {outcome.status}\n{outcome.output}{outcome.errors}"
        return outcome.output

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """The JSON that a command with --json writes."""
        return json.loads(self(*arguments, "--json", stdin=stdin))
