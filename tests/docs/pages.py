"""Reads the commands of the documentation from its pages.

All blocks of `sh` are run in one shell, in the order of the page. A comment before a block changes how it is run:

- `<!-- not run: REASON -->`: the block cannot run in a test.
- `<!-- run by: TEST -->`: another test runs the block.
- `<!-- background -->`: the block runs while the next blocks run.
- `<!-- background until: TEXT -->`: the block runs in the background. The next block waits until the output has TEXT.
- `<!-- until it works -->`: the block is repeated until it exits with 0, since mail and settings take a moment.
- `<!-- ends with an error -->`: the block must not exit with 0.

When a block of `text` follows, the output must show its lines, in their order.

A page that begins with `<!-- after: PAGE -->` uses the shell of that page, so that several pages share one suite.
Background commands that already run in this shell are not started again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_AFTER = re.compile(r"\A<!-- after: (\S+) -->\n")
_COMMENT = re.compile(r"<!-- ([^\n]*) -->\n\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """The commands of one block, and what its comment says about them."""

    page: str
    line: int
    commands: str
    # Lines that the output must show.
    shows: tuple[str, ...] = ()
    not_run: str = ""
    in_background: bool = False
    # For a block in the background: the text of its output that shows that the block is ready.
    ready: str = ""
    until_it_works: bool = False
    ends_with_an_error: bool = False


def pages() -> list[Path]:
    """Returns every page that may contain commands."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def unmarked(page: Path) -> list[str]:
    """Returns lines that look like commands in indented blocks. Such blocks are neither run nor marked."""
    outside = _FENCE.sub("", page.read_text("utf-8"))
    return re.findall(r"^ {4}(?:[A-Z_]+=\S+ )*(?:posthouse|curl|ask|make|docker|kubectl) .*$", outside, re.MULTILINE)


def leader(page: Path) -> str:
    """Returns the page in whose shell the commands of this page run: the page itself, or another one."""
    after = _AFTER.match(page.read_text("utf-8"))
    return after[1] if after else str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """Yields the blocks of shell commands of a page, in order. Raises ValueError for an unknown comment."""
    text = page.read_text("utf-8")
    name = str(page.relative_to(ROOT))
    fences = list(_FENCE.finditer(text))
    for number, fence in enumerate(fences):
        if fence[1] != "sh":
            continue
        after = fences[number + 1] if number + 1 < len(fences) else None
        shown = after[2] if after and after[1] == "text" and not text[fence.end() : after.start()].strip() else ""
        line = text.count("\n", 0, fence.start()) + 1
        comment = _COMMENT.search(text[: fence.start()])
        yield _block(name, line, fence[2], tuple(shown.splitlines()), comment[1] if comment else "")


def _block(page: str, line: int, commands: str, shows: tuple[str, ...], comment: str) -> Block:
    kind, _, rest = comment.partition(": ")
    match kind:
        case "":
            return Block(page, line, commands, shows)
        case "not run":
            return Block(page, line, commands, shows, not_run=rest)
        case "run by" if (ROOT / rest).is_file():
            return Block(page, line, commands, shows, not_run=f"it is run by {rest}")
        case "background" | "background until":
            return Block(page, line, commands, shows, in_background=True, ready=rest)
        case "until it works":
            return Block(page, line, commands, shows, until_it_works=True)
        case "ends with an error":
            return Block(page, line, commands, shows, ends_with_an_error=True)
    raise ValueError(f"{page}:{line}: unknown comment <!-- {comment} -->")
