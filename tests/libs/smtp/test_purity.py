"""libs.smtp is pure: it gets the time, random numbers and all other facts as arguments (import rule 4)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import libs.smtp

FORBIDDEN = {
    "asyncio",
    "socket",
    "ssl",
    "time",
    "datetime",
    "random",
    "secrets",
    "logging",
    "os",
    "grpc",
    "dns",
    "email",
}
MODULES = sorted(Path(libs.smtp.__file__ or "").parent.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_pure_modules_import_nothing_impure(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert not imported & FORBIDDEN
    assert "services" not in imported
    assert "posthouse" not in imported
