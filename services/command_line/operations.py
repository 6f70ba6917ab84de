"""Calls the operations of the client by name, with the JSON of the API.

Commands show all members of an answer, also those of a newer release, and send the values that the operator typed. So
they do not use the client's models. They use its operations, which have the paths, parameters and errors.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from services.command_line.failures import CommandError, ExitStatus

if TYPE_CHECKING:
    from posthouse_client import Posthouse, Response


class Body:
    """A JSON object in the form in which an operation accepts it as the body of a request."""

    def __init__(self, members: dict[str, Any]) -> None:
        self.members = members

    def to_dict(self) -> dict[str, Any]:
        return self.members


def operation(name: str) -> Any:
    """Returns the `sync_detailed` of an operation, by its path below `posthouse_client.api`, for example
    `accounts.get_account`.
    """
    return importlib.import_module(f"posthouse_client.api.{name}").sync_detailed


def content(response: Response[Any]) -> Any:
    """Returns the JSON of an answer, or None when it has no content."""
    return json.loads(response.content) if response.content else None


def call(posthouse: Posthouse, name: str, /, *path: Any, **arguments: Any) -> Any:
    """Returns the JSON of an operation's answer. Raises the errors of the operation."""
    return content(operation(name)(*path, client=posthouse.client, **arguments))


def items(
    posthouse: Posthouse, name: str, filters: Mapping[str, Any] | None = None, *, most: int | None = None
) -> Iterator[dict[str, Any]]:
    """Returns the items of a list from all its pages, at most `most`. Raises CommandError for an unknown filter."""
    arguments = _arguments(name, filters or {})
    left = most
    while left is None or left > 0:
        page = call(posthouse, name, limit=min(left or 1000, 1000), **arguments)
        yield from page["items"]
        left = left - len(page["items"]) if left is not None else None
        if not page["next_cursor"]:
            return
        arguments["cursor"] = page["next_cursor"]


_NO_FILTERS = ("client", "limit", "cursor")


def _arguments(name: str, filters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns filters by the names that the operation has for them: Python keywords get an underscore at the end."""
    names = [each for each in inspect.signature(operation(name)).parameters if each not in _NO_FILTERS]
    arguments = {}
    for filter_name, value in filters.items():
        argument = filter_name if filter_name in names else f"{filter_name}_"
        if argument not in names:
            known = ", ".join(each.removesuffix("_") for each in names)
            raise CommandError(f"there is no filter {filter_name!r}; there are {known}", ExitStatus.USAGE)
        arguments[argument] = value
    return arguments
