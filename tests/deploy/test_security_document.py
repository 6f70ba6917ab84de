"""SECURITY.md: each test that it names exists, and each of its sentences about what somebody can do names a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
# Sentences that need no test, because they say what cannot be prevented.
WITHOUT_TEST = ("It sees the mail", "It reads the mail that is sent to it", "It sees the API keys of those who use it")


def test_the_security_document_names_tests() -> None:
    assert len(NAMED) > 30


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_every_named_test_exists(file: str, name: str) -> None:
    source = (ROOT / file).read_text()
    assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE)


def test_each_statement_names_its_test() -> None:
    model = TEXT.partition("## Who is trusted with what")[2].partition("## What to know when you run it")[0]
    statements = [line for line in model.splitlines() if line.startswith(("- ", "| ")) and "| test |" not in line]
    assert len(statements) > 30
    for statement in statements:
        if not statement.removeprefix("- ").startswith(WITHOUT_TEST):
            assert "::test_" in statement, statement
