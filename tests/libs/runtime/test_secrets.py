"""A secret can be given in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.runtime.lifecycle import StartupError
from libs.runtime.secrets import from_files


def test_a_file_can_replace_the_variable(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("value\n")
    environment = {"KEY_FILE": str(secret), "OTHER_FILE": "/nowhere"}
    from_files(environment, ["KEY"])
    assert environment["KEY"] == "value"
    assert "OTHER" not in environment, "only the requested names are read"


def test_both_variables_or_an_unreadable_or_empty_file_is_a_clear_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    for environment, message in (
        ({"KEY": "a", "KEY_FILE": "b"}, "not both"),
        ({"KEY_FILE": str(tmp_path / "none")}, "can't be read"),
        ({"KEY_FILE": str(empty)}, "empty"),
    ):
        with pytest.raises(StartupError, match=message):
            from_files(environment, ["KEY"])
