"""Terms that name messages."""

from __future__ import annotations

import datetime

import pytest

from services.command_line.failures import CommandError
from services.command_line.selection import select


def test_ids_and_filters() -> None:
    assert select(["A1", "B2"]).ids == ("A1", "B2")
    assert select(["from=a@x.test", "to=y.test", "attempts_at_least=3"]).filters == {
        "sender": "a@x.test",
        "recipient_domain": "y.test",
        "attempts_at_least": 3,
    }


def test_an_age_is_a_time_before_now() -> None:
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)
    time = datetime.datetime.fromisoformat(select(["received_before=2h"]).filters["received_before"])
    assert abs(time - before) < datetime.timedelta(minutes=1)


@pytest.mark.parametrize("terms", [["A1", "to=x.test"], ["attempts_at_least=many"]])
def test_what_makes_no_sense_is_wrong_usage(terms: list[str]) -> None:
    with pytest.raises(CommandError) as refused:
        select(terms)
    assert refused.value.status == 2
