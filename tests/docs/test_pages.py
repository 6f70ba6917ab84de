"""The commands of README and docs are run, page by page, on a new suite in a network namespace of its own.

Blocks with the comment `not run` or `run by`, and the commands for measurements, are left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks, leader, pages, unmarked
from tests.peers.process import DEADLINE_SECONDS, program, until

_PAGES = {str(page.relative_to(ROOT)): list(blocks(page)) for page in pages()}
# Maps the page that starts a shell to all pages that use this shell.
_GROUPS: dict[str, list[str]] = {}
for _page in sorted(pages(), key=lambda page: leader(page) != str(page.relative_to(ROOT))):
    _GROUPS.setdefault(leader(_page), []).append(str(_page.relative_to(ROOT)))
_END = "\x1e"


@contextmanager
def _project() -> Iterator[Path]:
    """Yields a copy of the project, like a clone after its set-up. Its path is short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="docs-", dir="/var/tmp") as folder:
        copy = Path(folder) / "posthouse"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                # The time of each file is copied too, because make uses it to see that the set-up is up to date.
                shutil.copy2(ROOT / name, copy / name)
        (copy / ".venv").symlink_to(ROOT / ".venv")
        yield copy


class Terminal:
    """One shell that runs a page's blocks one after the other."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._started: set[str] = set()
        environment = {
            "HOME": str(project.parent),
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
        }
        # The shell has namespaces for network, mounts and processes. So the page's ports are free, /tmp has no files of
        # other runs, and all processes end together with the shell.
        spaces = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        command: list[str | Path] = [program("unshare"), *spaces, "bash", "--norc"]
        self._shell = subprocess.Popen(
            command,
            cwd=project,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.run(f"{program('ip')} link set lo up; mount -t tmpfs tmpfs /tmp; trap 'FAILED=$?' ERR")

    def run(self, commands: str) -> tuple[int, str]:
        """Runs commands in the shell itself, so that later commands see its variables.

        Returns the status of the last command that failed, or 0, and the output of all.
        """
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"FAILED=0\n{{\n{commands}\n}} </dev/null\nprintf '{_END}%s\\n' $FAILED\n")
        self._shell.stdin.flush()
        output = ""
        for line in self._shell.stdout:
            before, mark, status = line.partition(_END)
            output += before
            if mark:
                return int(status), output
        raise AssertionError(f"the shell ended: {output}")

    def start(self, block: Block) -> None:
        """Runs the block in the background. Returns when its output says that it is ready."""
        if block.commands in self._started:
            return
        self._started.add(block.commands)
        log = self._project / f"background-{block.line}.log"
        log.touch()
        status, output = self.run(f"( {block.commands} ) >{log} 2>&1 &")
        assert status == 0, output
        until(
            lambda: block.ready in log.read_text(errors="replace"),
            f"the output of {block.commands} contains {block.ready!r}",
        )

    def close(self) -> None:
        # With --kill-child the first process of the namespace ends together with unshare, and all others end with the
        # first.
        self._shell.kill()
        self._shell.wait()


def _follow(terminal: Terminal, block: Block) -> None:
    where = f"{block.page}:{block.line}"
    if block.not_run:
        return
    if block.in_background:
        terminal.start(block)
        return
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        status, output = terminal.run(block.commands)
        if status == 0 or not block.until_it_works or time.monotonic() > deadline:
            break
    assert (status != 0) == block.ends_with_an_error, f"{where} ended with status {status}:\n{output}"
    place = 0
    for line in block.shows:
        found = output.find(line, place)
        assert found >= 0, f"{where} does not show {line!r}. The output is:\n{output}"
        place = found + len(line)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "first", [name for name in _GROUPS if any(not block.not_run for page in _GROUPS[name] for block in _PAGES[page])]
)
def test_the_commands_of_a_page_do_what_the_page_says(first: str) -> None:
    with _project() as project:
        terminal = Terminal(project)
        try:
            for page in _GROUPS[first]:
                for block in _PAGES[page]:
                    _follow(terminal, block)
        finally:
            terminal.close()


def test_commands_are_in_blocks_that_are_run_or_marked() -> None:
    # Commands for measurements run for minutes. They are described next to their results, and are not run here.
    measurements = {"docs/performance.md", "docs/scaling.md"}
    found = {str(page.relative_to(ROOT)): unmarked(page) for page in pages()}
    assert {page for page, lines in found.items() if lines} <= measurements, found


def test_a_page_that_continues_another_one_names_a_page_that_begins_a_shell() -> None:
    assert [group for group in _GROUPS.values() if group[0] not in _GROUPS] == []
    assert {page for group in _GROUPS.values() for page in group} == set(_PAGES)


def test_commands_that_are_not_run_say_why() -> None:
    for of_page in _PAGES.values():
        for block in of_page:
            assert not block.not_run or len(block.not_run.split()) > 2, f"{block.page}:{block.line}"


def test_an_unknown_comment_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- until: it works -->\n```sh\ntrue\n```\n")
    with pytest.raises(ValueError):
        list(blocks(page))
