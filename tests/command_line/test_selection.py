"""The terms of a command that select messages."""

from __future__ import annotations

import datetime

import pytest

from services.command_line.failures import CommandError
from services.command_line.selection import parse_age, select


def test_ids_and_filters_are_read() -> None:
    assert select(["A1", "B2"]).ids == ("A1", "B2")
    assert select(["from=a@x.test", "to=y.test", "attempts_at_least=3"]).filters == {
        "sender": "a@x.test",
        "recipient_domain": "y.test",
        "attempts_at_least": 3,
    }


def test_an_age_becomes_a_time_before_now_and_times_are_text_in_json() -> None:
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)
    selection = select(["received_before=2h", "received_after=2026-01-31T12:00:00Z"])
    assert abs(selection.filters["received_before"] - before) < datetime.timedelta(minutes=1)
    assert selection.as_json()["received_after"] == "2026-01-31T12:00:00.000+00:00"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("30m", 30), ("30min", 30), ("2h", 120), ("1d 4h", 1680), ("2h5m", 125), ("2", None), ("", None)],
)
def test_ages_are_read_as_they_are_shown(text: str, minutes: int | None) -> None:
    assert parse_age(text) == (None if minutes is None else datetime.timedelta(minutes=minutes))


def test_the_error_for_an_unknown_state_lists_the_known_ones() -> None:
    assert select(["state=held"]).filters == {"state": "held"}
    with pytest.raises(CommandError, match=r"there is no state 'waiting'; the states are active, .*held") as refused:
        select(["state=waiting"])
    assert refused.value.status == 2


@pytest.mark.parametrize("terms", [["A1", "to=x.test"], ["attempts_at_least=many"], ["received_after=soon"]])
def test_invalid_terms_are_wrong_usage(terms: list[str]) -> None:
    with pytest.raises(CommandError) as refused:
        select(terms)
    assert refused.value.status == 2
