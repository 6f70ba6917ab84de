"""Output to a terminal: nothing is cut off, and text from other people cannot control the terminal."""

from __future__ import annotations

import pytest

from services.command_line.output import counted, duration, flattened, print_table, printable

ADDRESS = "a-long-local-part-of-some-recipient@a-domain-with-a-long-name.example.com"


def test_a_table_truncates_no_address_and_has_each_row_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("to", "count", "reply"), [(ADDRESS, 12, "451 4.3.0 " + "word " * 40)], right=("count",))
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["to", "count", "reply"]
    assert row.startswith(f"{ADDRESS}  ")
    assert row.count("word") == 40


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\x1b[2Jb", "a�[2Jb"),
        ("left\u202eright", "left�right"),
        ("two\nlines", "two lines"),
        ("Grüße 日本", "Grüße 日本"),
        (["a@x.test", "b@x.test"], "a@x.test, b@x.test"),
        (None, "-"),
        (True, "yes"),
        ({"kind": "maildir"}, '{"kind": "maildir"}'),
    ],
)
def test_values_are_printed_in_one_line_without_control_characters(value: object, shown: str) -> None:
    assert printable(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0s"), (59, "59s"), (60, "1m"), (7500, "2h 5m"), (90061, "1d 1h")]
)
def test_durations_are_shown_in_their_two_largest_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_noun_agrees_with_its_number() -> None:
    assert [counted(1, "message"), counted(2, "message"), counted(2, "reply", "replies")] == [
        "1 message",
        "2 messages",
        "2 replies",
    ]


def test_members_of_inner_objects_are_shown_by_their_path() -> None:
    assert dict(flattened({"a": {"b": {"c": 1}, "d": {}}, "e": [1]})) == {"a.b.c": 1, "a.d": {}, "e": [1]}
