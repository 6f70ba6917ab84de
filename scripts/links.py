"""Checks that links in the Markdown files of the project lead to existing files: relative links, and paths of our own
files.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
# A path below one of the project's folders. A path with a placeholder, for example services/<name>/, does not match.
_PATH = re.compile(r"(?<![\w/.-])((?:services|libs|tests|bench|docs|deploy|proto|scripts)/[\w./-]*[\w/])(?![\w<{*…])")

# Paths that commands write, and that git ignores.
_GENERATED = ("bench/results/",)


def faults(root: Path) -> list[str]:
    """Returns each link or path to a file that does not exist, with the place where it is written."""
    return [fault for file in _documents(root) for fault in _of_file(root, file)]


def _documents(root: Path) -> list[Path]:
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def _of_file(root: Path, file: Path) -> Iterator[str]:
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        where = f"{file.relative_to(root)}:{number}"
        for target in _LINK.findall(line):
            if not (file.parent / target).exists():
                yield f"{where}: the link to {target} leads nowhere"
        for path in _PATH.findall(line):
            if not path.startswith(_GENERATED) and not (root / path).exists():
                yield f"{where}: there is no {path}"


def main() -> None:
    if problems := faults(Path(__file__).parents[1]):
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
