"""Runs `posthouse demo --keep` as a process and reads from its output where it listens."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.peers.process import PeerProcess

_ROOT = Path(__file__).parents[2]
_WELCOME = "Ctrl-C ends it"


class Demonstration:
    """The demonstration, which runs from the beginning of a `with` block to its end. Its log is written to `folder`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "demo.log"
        self.process = PeerProcess(
            [sys.executable, "-m", "services", "demo", "--keep", *options],
            self.log,
            name="demo",
            folder=_ROOT,
            environment={**os.environ, "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'proto'}"},
            end_signal=signal.SIGINT,
        )

    def __enter__(self) -> Self:
        self.process.until_ready(lambda: _WELCOME in self.log.read_text(), pause=0.05)
        self.console_url = self._said(r"The console is at (\S+)")
        self.key_file = Path(self._said(r"cat (\S+)"))
        self.key = self.key_file.read_text().strip()
        self.api = httpx.Client(
            base_url=self._said(r"The API is at (\S+)"), headers={"Authorization": f"Bearer {self.key}"}, timeout=60
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.api.close()
        self.process.stop()

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Returns the first page of one of the API's lists."""
        answer = self.api.get(path, params=query)
        assert answer.is_success, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def _said(self, pattern: str) -> str:
        found = re.search(pattern, self.log.read_text())
        assert found is not None, self.log.read_text()
        return found[1]
