"""The first page of the console, which shows what needs attention."""

from __future__ import annotations

from services.console.pages.overview import _distinct


def test_a_finding_of_several_services_is_shown_once_with_their_names() -> None:
    clock = {"level": "warning", "id": "clock", "text": "It is not synchronised.", "remedy": "Run chrony."}
    findings = _distinct(
        [
            {"service": "config_api", **clock},
            {"service": "relay", **clock, "text": "It is 5 s behind."},
            {"service": "policy", **clock},
            {"service": "policy", **clock},
        ]
    )
    assert [(each["services"], each["text"]) for each in findings] == [
        (["config_api", "policy"], "It is not synchronised."),
        (["relay"], "It is 5 s behind."),
    ]
