"""Checks that docs/cases.md has the case numbers that the project cites, or sorts and corrects the file.

A case number is a letter and a number: C01 or P1. The check fails when
- a number that code, tests or documents cite has no line,
- a line names no test, or one that does not exist,
- a case has two lines, or the lines are not in order.

`--fix` sorts the lines, drops repeated ones, and follows tests that moved to another file under the same name.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import yaml

CASES = Path("docs/cases.md")
# Citations in these files are not counted. The test of this check cites cases that do not exist.
WITHOUT_CITATIONS = {CASES, Path("tests/scripts/test_cases.py")}
FOLDERS = ("services", "libs", "tests", "bench", "scripts", "docs", "proto", "deploy", "examples")
SUFFIXES = {".py", ".md", ".yaml", ".lua", ".proto", ".sql", ".cfg", ".toml"}

_NUMBER = r"C[0-9]{2,3}|F[0-9]{2}|P(?:[1-9]|1[0-9]|2[01])"
# The look-arounds exclude encoded text: `=C3=A9`, base64, hexadecimal numbers.
_CITATION = re.compile(rf"(?<![\w%=+/])(?:{_NUMBER})(?![\w%=+/])")
_TEST_NAME = re.compile(r"\bdef test_((?:[cfp][0-9]+_)+)")
_LINE = re.compile(rf"^\| ({_NUMBER}) \| (.+) \| (.+) \|$")
_TEST = re.compile(r"`([^`]+)::([^`]+)`")


@dataclass(frozen=True)
class Line:
    """One line of docs/cases.md. `tests` holds pairs of a file and the name of a test function or of a YAML case."""

    case: str
    text: str
    tests: tuple[tuple[str, str], ...]

    def written(self) -> str:
        tests = ", ".join(f"`{file}::{name}`" for file, name in self.tests)
        return f"| {self.case} | {self.text} | {tests} |"


def citations(root: Path) -> dict[str, list[str]]:
    """Returns the places (`path:line`) outside docs/cases.md that cite each case."""
    places: dict[str, list[str]] = defaultdict(list)
    files = [file for folder in FOLDERS for file in (root / folder).rglob("*")] + list(root.glob("*.md"))
    for file in sorted(files):
        name = file.relative_to(root)
        if file.suffix not in SUFFIXES or name in WITHOUT_CITATIONS or not file.is_file():
            continue
        for number, text in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
            for case in cited(text):
                places[case].append(f"{name}:{number}")
    return places


def cited(text: str) -> list[str]:
    """Returns the cases that one line of a file cites, also in the name of a test: `def test_c01_...`."""
    cases = _CITATION.findall(text)
    for numbers in _TEST_NAME.findall(text):
        cases += [number.upper() for number in numbers.strip("_").split("_")]
    return cases


def read(document: str) -> list[Line]:
    """Returns the lines of docs/cases.md, in the order of the file."""
    matches = [_LINE.match(text) for text in document.splitlines()]
    return [Line(match[1], match[2], tuple(_TEST.findall(match[3]))) for match in matches if match]


def order(line: Line) -> tuple[str, int]:
    return line.case[0], int(line.case[1:])


def names_in(file: Path) -> set[str]:
    """Returns the test functions of a Python file, or the names of the cases of a YAML file."""
    if not file.is_file():
        return set()
    if file.suffix == ".yaml":
        groups = yaml.safe_load(file.read_text("utf-8"))["groups"]
        return {case["name"] for group in groups for case in group["cases"]}
    tree = ast.parse(file.read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def faults(root: Path) -> list[str]:
    """Returns each fault as one sentence."""
    lines = read((root / CASES).read_text("utf-8"))
    cases = [line.case for line in lines]
    problems = [f"{case} has more than one line" for case in sorted({case for case in cases if cases.count(case) > 1})]
    if lines != sorted(lines, key=order):
        problems.append("the lines are not in order: run `make cases`")
    for line in lines:
        if not line.tests:
            problems.append(f"{line.case} names no test")
        for file, name in line.tests:
            if name not in names_in(root / file):
                problems.append(f"{line.case} names {file}::{name}, which does not exist: run `make cases` if it moved")
    for case, places in sorted(citations(root).items()):
        if case not in cases:
            problems.append(f"{case} has no line, but is cited in {', '.join(places[:3])}")
    return problems


def fix(root: Path) -> None:
    """Sorts the lines, drops repeated ones, and corrects the paths of tests that moved."""
    file = root / CASES
    document = file.read_text("utf-8")
    homes: dict[str, list[str]] = defaultdict(list)
    for test in sorted((root / "tests").rglob("test_*.py")):
        for name in names_in(test):
            homes[name].append(str(test.relative_to(root)))
    lines = {_with_paths(root, line, homes) for line in read(document)}
    written = [line.written() for line in sorted(lines, key=lambda line: (order(line), line.text))]
    head = [text for text in document.splitlines() if not _LINE.match(text)]
    file.write_text("\n".join([*head, *written]) + "\n", "utf-8")


def _with_paths(root: Path, line: Line, homes: dict[str, list[str]]) -> Line:
    tests = []
    for file, name in line.tests:
        candidates = homes.get(name, [])
        moved = name not in names_in(root / file) and len(candidates) == 1
        tests.append((candidates[0] if moved else file, name))
    return Line(line.case, line.text, tuple(tests))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fix", action="store_true", help="sort the lines and follow tests that moved")
    root = Path(__file__).parents[1]
    if parser.parse_args().fix:
        fix(root)
    if problems := faults(root):
        sys.exit("docs/cases.md:\n" + "\n".join(f"- {fault}" for fault in problems))


if __name__ == "__main__":
    main()
