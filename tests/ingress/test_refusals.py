"""The queue of refusals that wait for relay is limited, and shared by the client networks."""

from __future__ import annotations

from libs.smtp.reply import NO_SUCH_USER
from services.ingress.clients.refusals import Refusals
from services.ingress.submission import Refusal


def refusal(address: str, number: int) -> Refusal:
    return Refusal(
        session_id=str(number),
        client_address=address,
        helo_name=b"",
        account="",
        sender=b"",
        recipients=(),
        reply=NO_SUCH_USER,
        reason_id="unknown_recipient",
        rule_id="",
        stage="RCPT",
        refused_at=number,
        listener="smtp",
        tls=False,
    )


def taken(refusals: Refusals) -> list[tuple[str, int]]:
    found = []
    while refusals:
        one = refusals.take()
        found.append((one.client_address, one.refused_at))
    return found


def test_refusals_of_networks_are_sent_in_turns() -> None:
    refusals = Refusals(10)
    for number in range(3):
        assert refusals.add(refusal("192.0.2.1", number))
    assert refusals.add(refusal("198.51.100.1", 3))
    assert taken(refusals) == [("192.0.2.1", 0), ("198.51.100.1", 3), ("192.0.2.1", 1), ("192.0.2.1", 2)]


def test_a_flood_displaces_no_refusal_of_another_client() -> None:
    refusals = Refusals(4)
    assert [refusals.add(refusal(f"192.0.2.{number}", number)) for number in range(6)] == [True] * 4 + [False] * 2
    # When the queue is full, the newest refusal of the network with most refusals is dropped.
    assert not refusals.add(refusal("198.51.100.1", 6))
    assert not refusals.add(refusal("192.0.2.9", 7))
    assert sorted(taken(refusals)) == [
        ("192.0.2.0", 0),
        ("192.0.2.1", 1),
        ("192.0.2.2", 2),
        ("198.51.100.1", 6),
    ]
    assert not refusals
