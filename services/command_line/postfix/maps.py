"""The lookup tables of Postfix whose source is a text: hash and similar types, texthash, cidr, inline, static."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.command_line.postfix.parameters import logical_lines, split

# The source of these types is a text file with the name of the table. The import reads this file.
_FILES = frozenset({"hash", "texthash", "btree", "lmdb", "cdb", "dbm", "sdbm"})
# The types with these prefixes only pass a request on to the table that follows the prefix.
_WRAPPERS = ("proxy:",)


class MapError(Exception):
    """A table cannot be read. The text gives the reason."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of a table in their order. `is_static` means that the table has one value, which it gives for every
    key.
    """

    entries: tuple[tuple[str, str], ...]
    is_static: bool = False


def read(table: str, folder: Path) -> Entries:
    """Reads a table `type:name`. Files below /etc/postfix are those of `folder`. Raises MapError."""
    for wrapper in _WRAPPERS:
        table = table.removeprefix(wrapper)
    kind, colon, name = table.partition(":")
    if not colon:
        raise MapError(f"{table} is not type:name")
    if kind == "static":
        return Entries((("*", name.strip("{} ")),), is_static=True)
    if kind == "inline":
        return Entries(tuple(_inline(name)))
    if kind == "cidr":
        return Entries(tuple(_cidr(_text(name, folder), name)))
    if kind in _FILES:
        return Entries(tuple(_pairs(_text(name, folder))))
    raise MapError(
        f"tables of type {kind} can't be read: {_WHY.get(kind, 'only their own program knows what is in them')}"
    )


_WHY = {
    "regexp": "settings here name addresses and domains, no patterns",
    "pcre": "settings here name addresses and domains, no patterns",
}


def read_all(tables: Sequence[str], folder: Path) -> tuple[list[Entries], list[str]]:
    """Returns the tables that can be read, and the errors of the others."""
    read_tables, faults = [], []
    for table in tables:
        try:
            read_tables.append(read(table, folder))
        except MapError as error:
            faults.append(str(error))
    return read_tables, faults


def local_path(name: str, folder: Path) -> Path:
    """Returns the path of a file of the configuration, which is below `folder` if it belongs to /etc/postfix."""
    path = Path(name)
    if path.is_absolute() and path.is_relative_to("/etc/postfix"):
        return folder / path.relative_to("/etc/postfix")
    return folder / path


def _text(name: str, folder: Path) -> str:
    path = local_path(name, folder)
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise MapError(f"{path} can't be read: {error.strerror}") from None


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for line in logical_lines(text):
        key, value = [*line.split(None, 1), ""][:2]
        pairs.append((key.strip('"').casefold(), value.strip()))
    return pairs


def alias_pairs(text: str) -> list[tuple[str, str]]:
    """Returns the entries of aliases(5): `name: value, value`."""
    pairs = []
    for line in logical_lines(text):
        key, colon, value = line.partition(":")
        if colon:
            pairs.append((key.strip().strip('"').casefold(), value.strip()))
    return pairs


def _cidr(text: str, name: str) -> list[tuple[str, str]]:
    pairs = []
    for line in logical_lines(text):
        key, value = [*line.split(None, 1), ""][:2]
        if key.startswith("!") or key.lower() in ("if", "endif"):
            raise MapError(f"{name}: `{key}` has no counterpart")
        try:
            network = ipaddress.ip_network(key.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            raise MapError(f"{name}: {key!r} is no network") from None
        pairs.append((str(network), value.strip()))
    return pairs


def _inline(text: str) -> list[tuple[str, str]]:
    pairs = []
    for word in re.findall(r"\{\s*([^{}]*?)\s*\}", text.strip()[1:-1]) or split(text.strip()[1:-1]):
        key, _, value = word.partition("=")
        pairs.append((key.strip().casefold(), value.strip()))
    return pairs
