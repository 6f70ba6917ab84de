"""`posthouse doctor` shows what the services found, without repetition."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from services.command_line import health
from services.command_line.failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator


def _finding(service: str, name: str, level: str = "warning", text: str = "0.2 GB are free.") -> dict[str, Any]:
    return {"service": service, "id": name, "level": level, "text": text, "remedy": "Make room.", "replicas": []}


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Returns the list of findings that the API answers. A test adds findings to it."""
    given: list[dict[str, Any]] = []

    @contextmanager
    def connected() -> Iterator[None]:
        yield None

    monkeypatch.setattr(health, "connected", connected)
    monkeypatch.setattr(health, "call", lambda *_: {"items": given})
    return given


def test_a_finding_of_several_services_is_shown_once(
    findings: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    findings += [
        _finding("config_api", "disk"),
        _finding("relay", "disk"),
        _finding("policy", "disk", text="3 GB are free."),
        _finding("relay", "clock", level="ok"),
        _finding("ingress", "disk"),
    ]
    health.doctor()
    assert capsys.readouterr().out.splitlines() == [
        "warning: config_api, relay, ingress disk: 0.2 GB are free.",
        "  Make room.",
        "warning: policy disk: 3 GB are free.",
        "  Make room.",
    ]


def test_a_repeated_error_counts_once(findings: list[dict[str, Any]]) -> None:
    findings += [_finding("relay", "disk", level="error"), _finding("policy", "disk", level="error")]
    with pytest.raises(CommandError, match="1 of 1 checks found an error"):
        health.doctor()


def test_json_output_contains_each_finding_as_the_api_returns_it(
    findings: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    findings += [_finding("config_api", "disk"), _finding("relay", "disk")]
    health.doctor(as_json=True)
    assert capsys.readouterr().out.count('"disk"') == 2
