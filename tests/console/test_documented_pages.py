"""Each page of the console that docs name exists, and so does each label of a page or button.

Docs name pages and labels in a column `console` of a table, or in a paragraph that begins with "In the console".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.routing import Route

from services.console.app import ENTRIES, PAGES
from services.console.forms.document import ApiDocument
from services.console.message_actions import ACTIONS

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "services" / "console" / "templates"
_LABEL = re.compile(r"\*\*([^*]+)\*\*")
_PATH = re.compile(r"`(/[^`\s]*)`")
_MARKUP = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<[^>]*>", re.DOTALL)
_KIND = re.compile(r"/configuration/((?:settings/)?[a-z-]+)")

DOCUMENT = ApiDocument(json.loads((ROOT / "openapi.json").read_text()))
ROUTES = [
    route
    for module in PAGES
    for route in module.router.routes
    if isinstance(route, Route) and "GET" in (route.methods or ())
]


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def about_the_console(text: str) -> Iterator[str]:
    """Yields the cells of columns with this name, and the paragraphs about the console."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("In the console"):
            yield " ".join(paragraph.split())
        lines = paragraph.splitlines()
        if len(lines) > 2 and set(lines[1]) <= set("|-: "):
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
            for number, title in enumerate(rows[0]):
                if title.startswith("console"):
                    yield from (row[number] for row in rows[1:] if row[number])


def labels_of_the_console() -> set[str]:
    """Returns the texts that stand alone in a template or the navigation, or on a page made from the API's document."""
    texts = {entry.title for entry in ENTRIES} | {action.title for action in ACTIONS.values()}
    for template in TEMPLATES.glob("*.html"):
        texts.update(_MARKUP.split(template.read_text()))
    for resource in DOCUMENT.resources.values():
        actions = (*resource.actions, *(action for part in resource.parts for action in part.actions))
        texts.add(f"New {resource.singular}")
        texts.update(action.verb.replace("-", " ").capitalize() for action in actions)
    return {" ".join(text.split()).removesuffix("…").strip() for text in texts}


def test_text_about_the_console_is_found_in_tables_and_paragraphs() -> None:
    text = "| job | console |\n|---|---|\n| a | **Queue**, `/queue` |\n| b | |\n\nIn the console: `/live`,\nalways.\n"
    assert list(about_the_console(text)) == ["**Queue**, `/queue`", "In the console: `/live`, always."]


def test_the_documented_tasks_of_operators_name_the_console() -> None:
    for name in ("messages", "queue", "changes", "rotate", "upgrade", "capacity", "alerts"):
        assert list(about_the_console((ROOT / "docs" / "operate" / f"{name}.md").read_text())), name


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_each_page_and_label_of_the_console_that_is_named_exists(page: Path) -> None:
    labels = labels_of_the_console()
    for text in about_the_console(page.read_text()):
        for path in _PATH.findall(text):
            address = urlsplit(path)
            assert any(route.path_regex.match(address.path) for route in ROUTES), f"{path}: there is no such page"
            kind = _KIND.match(address.path)
            assert kind is None or kind[1] in DOCUMENT.resources, f"{path}: the API knows no such kind"
            if kind is not None and address.path.endswith("/new"):
                members = {member.name for member in DOCUMENT.resources[kind[1]].body.members}
                assert set(parse_qs(address.query)) <= members, path
        for label in _LABEL.findall(text):
            assert label in labels, f"**{label}** is on no page of the console: {text}"


def test_a_missing_page_or_label_is_reported() -> None:
    assert "Roll back to it" in labels_of_the_console()
    assert "Roll forward" not in labels_of_the_console()
    assert not any(route.path_regex.match("/que") for route in ROUTES)
