"""No regular expression repeats a group possessively, because Python 3.11.2 of Debian 12 matches those wrongly."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.py"))
MODULE_FUNCTIONS = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}

# An escaped character or a complete character class, which contains neither the end of a group nor a quantifier.
_OPAQUE = re.compile(r"\\.|\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL)
# A pattern may be joined from pieces, so a piece that begins with a possessive quantifier counts too.
_POSSESSIVE_GROUP = re.compile(r"(?:^|\))(?:[*+?]|\{[0-9]*,?[0-9]*\})\+")

Constants = dict[str, list[ast.expr]]


def possessive_group(pattern: str) -> bool:
    return _POSSESSIVE_GROUP.search(_OPAQUE.sub("_", pattern)) is not None


def module_constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            yield from ((target.id, statement.value) for target in statement.targets if isinstance(target, ast.Name))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value


def pieces(expression: ast.expr, constants: Constants, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yields every string of which the pattern is made. A name stands for all constants with this name."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if name in constants and name not in seen:
            for value in constants[name]:
                yield from pieces(value, constants, seen | {name})


def patterns(tree: ast.Module, constants: Constants) -> Iterator[tuple[int, str]]:
    """Yields the line and each piece of the pattern of every call of the re module."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr in MODULE_FUNCTIONS
        ):
            given = (
                node.args[0]
                if node.args
                else next(keyword.value for keyword in node.keywords if keyword.arg == "pattern")
            )
            yield from ((node.lineno, piece) for piece in pieces(given, constants))


def found_in(texts: dict[str, str]) -> tuple[int, list[str]]:
    """Returns the number of pieces of patterns in these sources, and the places of possessively repeated groups."""
    trees = {name: ast.parse(text) for name, text in texts.items()}
    constants: Constants = {}
    for tree in trees.values():
        for name, value in module_constants(tree):
            constants.setdefault(name, []).append(value)
    looked_at = [(f"{name}:{line}", piece) for name, tree in trees.items() for line, piece in patterns(tree, constants)]
    return len(looked_at), sorted({where for where, piece in looked_at if possessive_group(piece)})


def test_no_pattern_repeats_a_group_possessively() -> None:
    count, found = found_in({str(path.relative_to(ROOT)): path.read_text("utf-8") for path in SOURCES})
    assert found == []
    assert count > 50


@pytest.mark.parametrize(
    "source",
    [
        'import re\nre.compile(r"(?:ab)*+")',
        'import re\nre.compile(rb"(a|b)?+c")',
        'import re\nWORD = re.compile(r"[a-z](?:x)++").fullmatch',
        'import re\nre.sub(r"(?:ab){2,3}+", "", "x")',
        'import re\nre.search(pattern=r"(ab){2}+", string="x")',
        'import re\n_GROUP = r"(?:ab)"\ndef f():\n    return re.compile(rf"{_GROUP}*+")',
        'import re\n_PART = r"(?:ab)*+"\n_X = re.compile(_PART + r"c")',
        'import re\nre.compile(\n    r"(?:a"\n    r"|b)"\n    r"*+"\n)',
    ],
)
def test_each_form_of_a_possessive_group_is_found(source: str) -> None:
    _, found = found_in({"module.py": source})
    (call,) = [number for number, line in enumerate(source.splitlines(), 1) if re.search(r"re\.\w+\(", line)]
    assert found == [f"module.py:{call}"]


@pytest.mark.parametrize("pattern", [r"[a-z]++", r"a*+", r"\)*+", r"[)*+]x", r"(?:ab)+", r"(ab)*\+", r"[^])]?+"])
def test_possessive_repetition_without_a_group_is_allowed(pattern: str) -> None:
    assert not possessive_group(pattern)
