"""The output of commands: JSON for programs, tables for people, one line for an error; and questions to the user."""

from __future__ import annotations

import datetime
import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer

from services.command_line.failures import CommandError, ExitStatus

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def printable(value: object) -> str:
    """Returns a value in one line for a terminal. Text of others must not move the cursor, or hide or reverse other
    text.
    """
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            text = value
        case Mapping():
            text = json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            text = ", ".join(map(printable, value)) or "-"
        case _:
            text = str(value)
    return "".join(" " if letter in "\n\t" else letter if _is_harmless(letter) else "�" for letter in text)


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Prints a table without truncating any text: in a narrow terminal long values are folded, and elsewhere each row
    is one line. `right` has the columns of numbers.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts = [[printable(value) for value in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    needed = 0
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="right" if column in right else "left")
        needed += max((cell_len(text) for text in (column, *(row[number] for row in texts))), default=0) + 2
    for row in texts:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=needed)
    console.print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Prints an object with one line for each member. The members of inner objects have names such as
    `profile.hostname`.
    """
    flat = dict(flattened(fields))
    width = max(map(len, flat), default=0)
    for name, value in flat.items():
        typer.echo(f"{name:<{width}}  {printable(value)}")


def flattened(fields: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Returns the members of an object and of the objects in it, with names such as `profile.hostname`."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def age(since: str | None, now: datetime.datetime | None = None) -> str:
    """Returns how long ago a time of the API was, or how long it is until then."""
    if not since:
        return "-"
    seconds = ((now or datetime.datetime.now(datetime.UTC)) - parse_time(since)).total_seconds()
    text = duration(abs(seconds))
    return text if seconds >= 0 else f"in {text}"


def parse_time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def duration(seconds: float) -> str:
    """Returns seconds in their two largest units, for example `2h 5m`. Filters accept this form too."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        if rest >= size and len(parts) < 2:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return " ".join(parts) or f"{rest}s"


def words(name: str) -> str:
    """Returns a constant name of the API as words."""
    return name.replace("_", " ")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Returns a number with its noun, for example `1 message` or `2 messages`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def read_secret(what: str) -> str:
    """Reads a line of standard input. At a terminal the user is asked for it, and the typed text is not shown."""
    if sys.stdin.isatty():
        import getpass

        # getpass turns the echo off before it shows the question.
        return getpass.getpass(f"{what}: ")
    return sys.stdin.readline().rstrip("\n")


def confirm(question: str, yes: bool) -> None:
    """Asks before a change of many objects. Raises CommandError when the answer is no, or when nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} There is no terminal to ask at: --yes does it.", ExitStatus.USAGE)
    if not typer.confirm(question):
        raise CommandError("nothing was done")


Item = TypeVar("Item")


def progress(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yields the items, with a progress bar on standard error if it is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        for item in items:
            yield item
            bar.advance(task)
