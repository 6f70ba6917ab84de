"""`posthouse demo --keep`: what a newcomer finds in the console, and how it ends."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console.visitor import Visitor
from tests.peers.process import PeerProcess, until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
REFUSALS = {
    "unknown_recipient",
    "relay_denied",
    "blocked_domain",
    "dnsbl_listed",
    "non_fqdn_sender",
}


def start(folder: Path, *options: str) -> PeerProcess:
    return PeerProcess(
        [sys.executable, "-m", "services", "demo", "--keep", *options],
        folder / "demo.log",
        name="demo",
        folder=ROOT,
        environment={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
        end_signal=signal.SIGINT,
    )


class Demonstration:
    """One that runs, as its own words tell where it is."""

    def __init__(self, process: PeerProcess, log: Path) -> None:
        self.process = process
        until(lambda: "Ctrl-C ends it" in log.read_text() or not process.running, "it says where it is")
        text = log.read_text()
        self.console = self._find(r"The console is at (\S+)", text)
        self.key_file = Path(self._find(r"cat (\S+)", text))
        self.api = httpx.Client(
            base_url=self._find(r"The API is at (\S+)", text),
            headers={"Authorization": f"Bearer {self.key_file.read_text().strip()}"},
            timeout=60,
        )

    @staticmethod
    def _find(pattern: str, text: str) -> str:
        found = re.search(pattern, text)
        assert found is not None, text
        return found[1]

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        answer = self.api.get(path, params=query)
        assert answer.is_success, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


@pytest.fixture
def demonstration(tmp_path: Path) -> Iterator[Demonstration]:
    process = start(tmp_path)
    try:
        running = Demonstration(process, tmp_path / "demo.log")
        with running.api:
            yield running
    finally:
        process.stop()


def test_the_console_is_full_and_nothing_is_left_in_the_end(demonstration: Demonstration) -> None:
    items = demonstration.items
    fates: dict[str, Callable[[], object]] = {
        "a message is delivered": lambda: items("/v1/messages", state="delivered"),
        "a message is deferred": lambda: items("/v1/queue/messages", state="deferred"),
        "a message is bounced": lambda: items("/v1/messages", state="bounced"),
        "a message is held": lambda: items("/v1/queue/messages", state="held"),
        "a destination is suspended": lambda: any(
            each["suspended"] and each["queued"] for each in items("/v1/queue/destinations")
        ),
        "a rule in shadow mode has hits": lambda: any(
            rule["hits"] for rule in items("/v1/access-rules", mode="shadow")
        ),
        "a setting in shadow mode has hits": lambda: items("/v1/messages", shadow_reason_id="non_fqdn_helo"),
        "a client is blocked": lambda: items("/v1/blocked-clients"),
        **{
            f"{reason} refused a message": functools.partial(items, "/v1/messages", reason_id=reason)
            for reason in sorted(REFUSALS)
        },
    }
    for what, happened in fates.items():
        until(lambda happened=happened: bool(happened()), what, pause=0.2)  # type: ignore[misc]
    with Visitor(demonstration.console, demonstration.key_file.read_text().strip()) as visitor:
        assert "away.example" in visitor.page("/queue").text
        assert "alice@ours.example" in visitor.page("/messages").text
    demonstration.process.signal(signal.SIGINT)
    assert demonstration.process.wait() == 0, demonstration.process.log_tail()
    assert not demonstration.key_file.parent.exists()


def test_it_ends_by_itself_after_its_time(tmp_path: Path) -> None:
    process = start(tmp_path, "--minutes", "0.01")
    try:
        assert process.wait() == 0, process.log_tail()
    finally:
        process.stop()
    assert "Stopping" in (tmp_path / "demo.log").read_text()
