"""The check of links and paths in documents, with a small project that is made for the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import links


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("docs/decisions", "services/relay"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "services" / "relay" / "mx.py").touch()
    (tmp_path / "docs" / "scaling.md").touch()
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "[one](../scaling.md#replicas) and [another](https://example.com/x.md)",
        "`services/relay/mx.py`, `services/relay/`, services/<name>/ and services/relay.",
        "[here](#below)",
    ],
)
def test_links_to_existing_places_are_not_faults(project: Path, text: str) -> None:
    (project / "docs" / "decisions" / "page.md").write_text(text)
    assert links.faults(project) == []


@pytest.mark.parametrize("text", ["[one](scaling.md)", "`services/relay/dns.py`", "see docs/scale.md."])
def test_each_link_to_a_missing_place_is_a_fault(project: Path, text: str) -> None:
    (project / "docs" / "decisions" / "page.md").write_text(f"\n{text}\n")
    (fault,) = links.faults(project)
    assert fault.startswith("docs/decisions/page.md:2: ")
