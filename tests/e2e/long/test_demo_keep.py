"""`posthouse demo --keep` shows a new user some mail in the console, and leaves nothing behind when it ends."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.console.visitor import Visitor
from tests.peers.demonstration import Demonstration
from tests.peers.process import until

pytestmark = pytest.mark.e2e

REFUSALS = ("blocked_domain", "dnsbl_listed", "non_fqdn_sender", "relay_denied", "unknown_recipient")


def test_the_console_has_mail_and_nothing_is_left_at_the_end(tmp_path: Path) -> None:
    with Demonstration(tmp_path) as demonstration:
        every_fate_is_there(demonstration)
        with Visitor(demonstration.console_url, demonstration.key) as visitor:
            assert "away.example" in visitor.page("/queue").text
            assert "alice@ours.example" in visitor.page("/messages").text
        demonstration.process.signal(signal.SIGINT)
        assert demonstration.process.wait() == 0, demonstration.process.log_tail()
        assert not demonstration.key_file.parent.exists()


def every_fate_is_there(demonstration: Demonstration) -> None:
    """Waits until everything that the demonstration shows is there, such as messages with each outcome."""
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
            for reason in REFUSALS
        },
    }
    for what, happened in fates.items():
        until(lambda happened=happened: bool(happened()), what, pause=0.2)  # type: ignore[misc]


def test_the_demonstration_ends_by_itself_after_its_time(tmp_path: Path) -> None:
    demonstration = Demonstration(tmp_path, "--minutes", "0.01")
    try:
        assert demonstration.process.wait() == 0, demonstration.process.log_tail()
    finally:
        demonstration.process.stop()
    assert "Stopping" in demonstration.log.read_text()
