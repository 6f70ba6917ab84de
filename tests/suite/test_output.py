"""The output of `posthouse up`, for people and for programs."""

from __future__ import annotations

import json

import pytest

from services.suite.output import ConsoleOutput, JsonOutput

ODD_LINES = [
    "Traceback (most recent call last):",
    '  File "x.py", line 1, in <module>',
    '{"cut off in the mid',
    "{}",
    '"',
    "",
    "I0000 grpc \x1b[31m \udcff",
]


@pytest.mark.parametrize("line", ODD_LINES)
def test_for_programs_a_line_that_is_no_json_object_becomes_a_json_object(line: str) -> None:
    written: list[str] = []
    JsonOutput(written.append).show("relay-2", line)
    [text] = written
    event = json.loads(text)
    assert (text[-1], text.count("\n")) == ("\n", 1)
    assert (event["event"], event["child"], event["text"]) == ("output", "relay-2", line)


def test_for_programs_the_json_objects_of_a_child_name_its_process() -> None:
    written: list[str] = []
    JsonOutput(written.append).show("relay-2", '{"event": "ready", "service": "relay", "port": 1}')
    assert json.loads(written[0]) == {"child": "relay-2", "event": "ready", "service": "relay", "port": 1}


def test_for_programs_an_event_of_the_suite_has_fields() -> None:
    written: list[str] = []
    JsonOutput(written.append).tell("suite_ready", "\nready\n", seconds=1.5)
    event = json.loads(written[0])
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "level": "info",
        "event": "suite_ready",
        "service": "suite",
        "text": "\nready\n",
        "seconds": 1.5,
    }


def test_for_people_the_lines_of_a_child_begin_with_its_name() -> None:
    written: list[str] = []
    output = ConsoleOutput(written.append, 7)
    output.drop_held()
    output.show("relay", "ready")
    output.tell("suite_stopping", "posthouse: stopping", level="info")
    assert written == ["relay   | ready\n", "posthouse: stopping\n"]


def test_for_people_lines_of_the_start_are_held_back_until_they_are_needed() -> None:
    written: list[str] = []
    output = ConsoleOutput(written.append, 5)
    output.show("relay", "ready")
    output.tell("child_ready", "posthouse: relay is ready")
    assert written == ["posthouse: relay is ready\n"]
    output.show_held()
    output.show("relay", "more")
    assert written[1:] == ["relay | ready\n", "relay | more\n"]
    dropped: list[str] = []
    output = ConsoleOutput(dropped.append, 5)
    output.show("relay", "12:00:00Z info    ready")
    output.show("relay", "12:00:00Z warning disk_low")
    output.drop_held()
    output.show("relay", "more")
    assert dropped == ["relay | 12:00:00Z warning disk_low\n", "relay | more\n"]
