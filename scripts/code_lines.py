"""Counts lines of code: without blank lines, comments, docstrings and imports.

code_lines.py [--depth N] [FOLDER ...]          the counts of folders (by default services), N levels deep
code_lines.py --since COMMIT [FOLDER ...]       the same, beside the counts at a commit
code_lines.py --commits COMMIT [FOLDER ...]     how much each commit after this one changed
code_lines.py --check                           fails when a folder has more than scripts/code_lines.json allows
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
BUDGET = Path(__file__).with_suffix(".json")
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """Returns the number of lines of a Python source that contain code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and (isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node)):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def _is_docstring(node: ast.AST) -> bool:
    """Whether a statement is only a string: a docstring, or a string that describes the field before it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def sources_of_tree(folder: str) -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def sources_of_commit(commit: str, folder: str) -> Iterator[tuple[str, str]]:
    listed = _git("ls-tree", "-r", "--name-only", commit, folder)
    for path in listed.splitlines():
        if path.endswith(".py"):
            yield path, _git("show", f"{commit}:{path}")


def _git(*arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=ROOT, check=True, capture_output=True, text=True).stdout


def changes_of_commits(since: str, folder: str) -> Iterator[tuple[int, str]]:
    """Yields (lines of code added, hash and subject) of each commit that changes the folder, oldest first."""
    for line in _git("log", "--reverse", "--format=%h %s", f"{since}..HEAD", "--", folder).splitlines():
        commit = line.partition(" ")[0]
        names = _git("diff", "--no-renames", "--name-only", f"{commit}^", commit, "--", folder).splitlines()
        paths = [name for name in names if name.endswith(".py")]
        yield sum(_lines_at(commit, path) - _lines_at(f"{commit}^", path) for path in paths), line


def _lines_at(commit: str, path: str) -> int:
    """Returns the number of lines of code of a file at a commit, or 0 when the commit does not have the file."""
    try:
        return code_lines(_git("show", f"{commit}:{path}"))
    except subprocess.CalledProcessError:
        return 0


def totals(sources: Iterator[tuple[str, str]], depth: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for path, source in sources:
        parts = PurePosixPath(path).parts
        counts["/".join(parts[: depth + 1])] += code_lines(source)
    return counts


def over_budget(counts: Mapping[str, int], budget: Mapping[str, int]) -> list[str]:
    """Returns the faults: a folder with more lines than its budget, a folder without a budget, and a budget without a
    folder. A budget is not a target. Because of it, code can grow only if a commit raises the budget.
    """
    faults = [
        f"{name} has {counts[name]:,} lines of code, and its budget is {limit:,}: remove what is not needed any more, "
        f"or raise the budget in {BUDGET.name} and say in the commit what the lines are for"
        for name, limit in budget.items()
        if counts.get(name, 0) > limit
    ]
    faults += [f"{name} has no budget in {BUDGET.name}" for name in counts if name not in budget]
    return faults + [f"{name} has a budget and no code" for name in budget if name not in counts]


def check() -> int:
    budget: dict[str, int] = json.loads(BUDGET.read_text("utf-8"))
    counts: Counter[str] = Counter()
    for folder in ("services", "libs"):
        counts += totals(sources_of_tree(folder), 1)
    faults = over_budget({name: count for name, count in counts.items() if not name.endswith("__init__.py")}, budget)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", default=["services"])
    parser.add_argument("--depth", type=int, default=1, help="levels of folders below the named one")
    parser.add_argument("--since", metavar="COMMIT", help="shows the counts of this commit, too")
    parser.add_argument("--commits", metavar="COMMIT", help="shows what each commit after this one changed")
    parser.add_argument("--check", action="store_true", help="compares the counts with the budgets")
    options = parser.parse_args()
    if options.check:
        raise SystemExit(check())
    for folder in options.folders:
        if options.commits:
            for added, line in changes_of_commits(options.commits, folder):
                print(f"{added:+6,}  {line}")
            continue
        now = totals(sources_of_tree(folder), options.depth)
        before = totals(sources_of_commit(options.since, folder), options.depth) if options.since else None
        for name in sorted(now.keys() | (before or {}).keys()):
            print(_row(name, now[name], None if before is None else before[name]))
        print(_row(folder, now.total(), None if before is None else before.total()))


def _row(name: str, now: int, before: int | None) -> str:
    return f"{now:7,}  {name}" if before is None else f"{before:7,} {now:7,} {now - before:+7,}  {name}"


if __name__ == "__main__":
    main()
