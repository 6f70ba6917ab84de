"""Runs the command `posthouse` as an operator does."""

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
    """The exit status of a command and its output."""

    status: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


class CommandLine:
    """Runs `posthouse …` with the address and the key of a suite in the environment. `variables` may replace these."""

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
        """Runs a command and returns its outcome, also when it fails."""
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
        """Runs a command at a terminal. Each of `answers` is typed after a prompt that ends with its key.

        The output is everything that the terminal shows, including the echo of what is typed.
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
        # When the last process has closed a terminal, reading it raises OSError.
        with os.fdopen(main, "r+b", buffering=0) as terminal, contextlib.suppress(OSError):
            while octets := terminal.read(4096):
                shown += octets.decode(errors="replace")
                for prompt in [each for each in left if shown.rstrip().endswith(each)]:
                    terminal.write(f"{left.pop(prompt)}\n".encode())
        return Outcome(process.wait(timeout=100), shown, "")

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Runs a command that must succeed, and returns its output."""
        outcome = self.run(*arguments, stdin=stdin)
        assert outcome.status == 0, f"{arguments}: {outcome.status}\n{outcome.output}{outcome.errors}"
        return outcome.output

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """Returns the JSON that a command writes with --json."""
        return json.loads(self(*arguments, "--json", stdin=stdin))
