"""kill -9 of relay with a full queue: each message arrives, and only those in flight may arrive twice."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.e2e import world
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink, Stage
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e

MESSAGES = 200


def _numbers(far: SmtpSink) -> Counter[bytes]:
    found = (re.search(rb"message-number-(\d+)\.", one.content) for one in far.messages)
    return Counter(match[1] for match in found if match)


def test_200_messages_survive_kill_9(suite: Suite, far: SmtpSink) -> None:
    world.trust_loopback(suite)
    until(lambda: world.reply_to_rcpt(suite, "bob@far.test")[0] == 250, "loopback is trusted")
    gate = far.hold(Stage.END_OF_DATA)
    with world.smtp(suite) as client:
        for number in range(MESSAGES):
            content = world.message("sender@far.test", text=f"message-number-{number}.")
            assert client.sendmail("sender@far.test", ["bob@far.test"], content) == {}
    far.wait_until(lambda: bool(far.sessions), "relay has begun to deliver")
    in_flight = {
        match[1]
        for session in far.sessions
        for transaction in session.transactions
        if transaction.complete and (match := re.search(rb"message-number-(\d+)\.", transaction.content))
    }
    suite.kill("relay")
    gate.open()
    suite.start_service("relay")
    wanted = {str(number).encode() for number in range(MESSAGES)}
    far.wait_until(lambda: set(_numbers(far)) == wanted, "every message has arrived", seconds=90)
    world.until_queue_is_empty(suite)
    twice = {number for number, count in _numbers(far).items() if count > 1}
    print(f"in flight at the kill: {len(in_flight)}; delivered twice: {len(twice)}")
    assert twice <= in_flight
    assert max(_numbers(far).values()) <= 2
    # What was refused before loopback was trusted is in the history too.
    delivered = {one["queue_id"] for one in world.history(suite) if one["state"] == "delivered"}
    assert len(delivered) == MESSAGES
