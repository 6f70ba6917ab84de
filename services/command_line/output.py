"""What commands print: JSON for programs, tables for people, one line for an error; and what they ask."""

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
    """A value in one line for a terminal. Text of others must not move the cursor, nor hide or turn what is shown."""
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
    """A table that cuts nothing: in a narrow terminal long values are folded, elsewhere each row is one line.

    `right`: the columns of numbers.
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
    """A thing as one line a member, with the names of the members of an object below it."""
    flat = dict(flattened(fields))
    width = max(map(len, flat), default=0)
    for name, value in flat.items():
        typer.echo(f"{name:<{width}}  {printable(value)}")


def flattened(fields: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The members of an object and of the objects in it, as `profile.hostname`."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def age(since: str | None, now: datetime.datetime | None = None) -> str:
    """How long ago, or in how long, a time of the API is."""
    if not since:
        return "-"
    seconds = ((now or datetime.datetime.now(datetime.UTC)) - parse_time(since)).total_seconds()
    text = duration(abs(seconds))
    return text if seconds >= 0 else f"in {text}"


def parse_time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def duration(seconds: float) -> str:
    """Seconds in the two largest units that fit, for example `2h 5m`, as filters take them too."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        if rest >= size and len(parts) < 2:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return " ".join(parts) or f"{rest}s"


def words(name: str) -> str:
    """A constant name of the API as words."""
    return name.replace("_", " ")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, for example `1 message` or `2 messages`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def read_secret(what: str) -> str:
    """A line of standard input. At a terminal it is asked for, and what is typed is not shown."""
    if sys.stdin.isatty():
        import getpass

        # It turns the echo off before it asks.
        return getpass.getpass(f"{what}: ")
    return sys.stdin.readline().rstrip("\n")


def confirm(question: str, yes: bool) -> None:
    """Asks before what touches many. Raises CommandError when the answer is no, or nobody is there to give one."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} There is no terminal to ask at: --yes does it.", ExitStatus.USAGE)
    if not typer.confirm(question):
        raise CommandError("nothing was done")


Item = TypeVar("Item")


def progress(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The items, with a bar on the terminal's standard error once it takes longer than a second."""
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
