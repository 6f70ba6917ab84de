"""`/settings/queue`: the times of retries, expiry and reports, and the number of connections that delivery uses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway, message
from tests.peers.ports import free_address
from tests.peers.process import until
from tests.peers.smtp_records import Transaction
from tests.peers.smtp_sink import SmtpSink, Stage, reply

pytestmark = pytest.mark.e2e

SECONDS_PER_HOUR = 3600
SECONDS_PER_MINUTE = 60


def _defer(gateway: Gateway, marker: str, sender: str = world.ALICE) -> None:
    gateway.far.on(Stage.RCPT, reply("451 4.3.0 Come back later"))
    _send(gateway, marker, sender)
    _delivery(gateway, 1)


def _send(gateway: Gateway, marker: str, sender: str = world.ALICE, *recipients: str) -> None:
    with gateway.submission() as client:
        content = message(marker, sender=world.ALICE)
        assert client.transaction(sender, *(recipients or (FAR,)), content=content) == "accepted"


def _delivery(gateway: Gateway, attempts: int) -> dict[str, Any]:
    """Waits until the only delivery in the queue is deferred after at least this many attempts, and returns it."""
    found: list[dict[str, Any]] = []

    def tried() -> bool:
        found[:] = [
            delivery
            for one in world.queued(gateway.suite)
            for delivery in one["deliveries"]
            if delivery["attempts"] >= attempts and delivery["state"] == "deferred"
        ]
        return bool(found)

    until(tried, f"the message had {attempts} attempts")
    return found[0]


def _wait_until_due(delivery: dict[str, Any]) -> float:
    """Returns the minutes from the last attempt to the next one."""
    due = datetime.fromisoformat(delivery["due_at"])
    return (due - datetime.fromisoformat(delivery["last_attempt"]["ended_at"])).total_seconds() / 60


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        ({}, [5, 7.5, 11.25]),
        ({"first_minutes": 60, "growth": 1.5, "max_minutes": 120}, [60, 90, 120, 120]),
        ({"first_minutes": 10, "growth": 3, "max_minutes": 1000}, [10, 30, 90]),
    ],
    ids=["at first", "capped", "steep"],
)
def test_the_times_between_attempts_grow_by_the_schedule(
    gateway: Gateway, schedule: dict[str, Any], minutes: list[float]
) -> None:
    if schedule:
        gateway.patch("queue", {"retry_schedule": schedule})
    _defer(gateway, "schedule")
    waits = [_wait_until_due(_delivery(gateway, 1))]
    (waiting,) = world.queued(gateway.suite)
    for attempts in range(2, len(minutes) + 1):
        gateway.post(f"queue/messages/{waiting['queue_id']}:retry")
        waits.append(_wait_until_due(_delivery(gateway, attempts)))
    # The random part of the wait is at most a quarter of the wait.
    for wait, wanted in zip(waits, minutes, strict=True):
        assert 0.75 * wanted <= wait <= 1.25 * wanted, waits


def _report(gateway: Gateway, marker: str, recipient: str = world.ALICE) -> Transaction:
    """Waits until the mailbox server has the report about the mail with `marker`, and returns it."""

    def found() -> list[Transaction]:
        return [
            one
            for one in gateway.mailbox.messages
            if b"multipart/report" in one.header and marker.encode() in one.content
        ]

    until(lambda: bool(found()), f"there is a report about {marker}; states so far: {gateway.states(world.ALICE)}", 105)
    (report,) = found()
    assert report.sender == b""
    assert report.accepted_recipients == [recipient.encode()]
    return report


def test_permanently_refused_mail_is_reported_from_the_null_sender(gateway: Gateway) -> None:
    gateway.far.on(Stage.RCPT, reply("550-5.1.1 No such user", "550 5.1.1 here"))
    _send(gateway, "refused for good")
    content = _report(gateway, "refused for good").content
    for words in (
        b"Action: failed",
        b"Status: 5.1.1",
        b"Final-Recipient: rfc822; bob@far.test",
        b"Diagnostic-Code: smtp; 550",
        b"Reporting-MTA: dns; mx.ours.test",
        b"Auto-Submitted: auto-replied",
    ):
        assert words.lower().replace(b"; ", b";") in content.lower().replace(b"; ", b";"), words


def test_mail_expires_by_itself_and_is_reported(gateway: Gateway) -> None:
    _defer(gateway, "expires")
    gateway.patch(
        "queue",
        {"expire_after_hours": 1 / SECONDS_PER_HOUR, "retry_schedule": {"first_minutes": 1 / SECONDS_PER_MINUTE}},
    )
    _send(gateway, "expires soon")
    content = _report(gateway, "expires soon").content
    assert b"Action: failed" in content
    assert b"Status: 4.4.7" in content or b"Status: 5.4.7" in content


def test_the_sender_gets_a_notice_of_delay_and_the_mail_is_still_tried(gateway: Gateway, torture: bool) -> None:
    if not torture:
        pytest.skip("this test waits a minute for the sweep, so it needs the option --torture")
    gateway.patch(
        "queue",
        {
            "delay_notice_after_hours": 10 / SECONDS_PER_HOUR,
            "retry_schedule": {"first_minutes": 10 / SECONDS_PER_MINUTE},
        },
    )
    _defer(gateway, "swept")
    assert b"Action: delayed" in _report(gateway, "swept").content
    assert [one["state"] for one in world.queued(gateway.suite)] == ["deferred"]


def test_a_report_is_never_about_the_null_sender_and_goes_to_the_external_postmasters_once(
    gateway: Gateway,
) -> None:
    gateway.patch("general", {"external_postmasters": ["post@pm.test"]})
    gateway.dns.replace("pm.test", "MX", "10 mx.far.test.")
    gateway.far.on(Stage.RCPT, reply("550 5.1.1 No such user"), address=FAR)
    _send(gateway, "from nobody", "")

    def found() -> list[Transaction]:
        return [one for one in gateway.far.messages if b"from nobody" in one.content]

    until(lambda: bool(found()), "the external postmaster has the report about the undeliverable report")
    (report,) = found()
    assert (report.sender, report.accepted_recipients) == (b"", [b"post@pm.test"])
    until(lambda: not world.queued(gateway.suite), "the queue is empty")
    assert len(found()) == 1
    assert not gateway.mailbox.messages
    gateway.dns.remove("pm.test")


def test_a_report_that_the_postmaster_refuses_causes_no_further_report(gateway: Gateway) -> None:
    postmaster = f"post@{gateway.new_domain()}"
    gateway.patch("general", {"external_postmasters": [postmaster]})
    gateway.dns.add(postmaster.partition("@")[2], "MX", "10 mx.far.test.")
    gateway.far.on(Stage.RCPT, reply("550 5.1.1 No such user"))
    _send(gateway, "nobody wants it", "")

    def tried() -> int:
        return len(
            [
                recipient
                for transaction in gateway.far.transactions
                for recipient in transaction.recipients
                if recipient.address == postmaster.encode()
            ]
        )

    until(lambda: tried() > 0, "delivery of the report was tried")
    until(lambda: not world.queued(gateway.suite), "the queue is empty")
    assert tried() == 1


@pytest.fixture
def fresh(gateway: Gateway) -> Iterator[tuple[str, SmtpSink]]:
    """Yields a recipient at a domain to which no connection is open yet, and the mail server of the domain."""
    domain = gateway.new_domain()
    with SmtpSink(host=free_address(), port=gateway.mx_port) as sink:
        gateway.dns.add(domain, "A", sink.host)
        yield f"bob@{domain}", sink


def test_connections_to_a_destination_stay_within_the_limit(gateway: Gateway, fresh: tuple[str, SmtpSink]) -> None:
    recipient, sink = fresh
    gateway.patch("queue", {"max_concurrency_per_destination": 2})
    gate = sink.hold(Stage.END_OF_DATA)
    for number in range(4):
        _send(gateway, f"spread {number}", world.ALICE, recipient)
    sink.wait_until(
        lambda: len([session for session in sink.sessions if session.transactions]) >= 2,
        "two sessions have begun a transaction",
    )
    # A later message to another domain is delivered first, so relay had enough time to open more sessions.
    _send(gateway, "passes by", world.ALICE, "carol@ours.test")
    gateway.delivered("passes by")
    assert len(sink.sessions) == 2
    gate.open()
    sink.wait_for_messages(4)


def test_messages_over_a_connection_stay_within_the_limit(gateway: Gateway, fresh: tuple[str, SmtpSink]) -> None:
    recipient, sink = fresh
    gateway.patch("queue", {"max_messages_per_connection": 2, "max_concurrency_per_destination": 1})
    for number in range(5):
        _send(gateway, f"reuse {number}", world.ALICE, recipient)
    sink.wait_for_messages(5)
    assert [len(session.transactions) for session in sink.sessions] == [2, 2, 1]
