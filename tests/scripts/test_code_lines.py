"""The counter counts only lines of code, and the folders keep to their budgets."""

from __future__ import annotations

from scripts import code_lines

SOURCE = '''"""A module.

Its docstring.
"""

import os
from sys import (
    path,
)

# A comment.
LIMIT = 3  # code with a comment


class Value:
    """A docstring."""

    text = (
        "one"
        "two"
    )
    """Beside a field."""

    def show(self) -> str:
        """Another one."""
        return f"""{self.text}
        of two lines"""
'''


def test_blank_lines_comments_docstrings_and_imports_are_not_counted() -> None:
    # These are: LIMIT, class, four lines of text, def, and two lines of return.
    assert code_lines.code_lines(SOURCE) == 9


def test_the_lines_of_all_files_in_a_folder_are_added() -> None:
    sources = iter([("services/a/x.py", "a = 1\n"), ("services/a/b/y.py", "a = 1\nb = 2\n"), ("services/z.py", "")])
    assert code_lines.totals(sources, 1) == {"services/a": 3, "services/z.py": 0}


def test_a_folder_over_its_budget_is_named() -> None:
    budget = {"services/a": 10, "services/b": 10, "services/gone": 1}
    faults = code_lines.over_budget({"services/a": 11, "services/b": 10, "services/new": 1}, budget)
    assert [fault.partition(" ")[0] for fault in faults] == ["services/a", "services/new", "services/gone"]
    assert "11" in faults[0]
    assert "10" in faults[0]


def test_no_folder_exceeds_its_budget() -> None:
    assert code_lines.check() == 0
