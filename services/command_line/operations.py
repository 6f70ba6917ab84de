"""The client's operations as commands use them: by name, and with the JSON of the API.

Commands show what the API answers, members of a newer release too, and send what the operator typed. So they pass by
the client's models, and keep its operations, which know paths, parameters and refusals.
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
    """An object of JSON, as an operation takes it for the body of a request."""

    def __init__(self, members: dict[str, Any]) -> None:
        self.members = members

    def to_dict(self) -> dict[str, Any]:
        return self.members


def operation(name: str) -> Any:
    """The `sync_detailed` of an operation, by its path below `posthouse_client.api`, as `accounts.get_account`."""
    return importlib.import_module(f"posthouse_client.api.{name}").sync_detailed


def content(response: Response[Any]) -> Any:
    """The JSON of an answer; None where it has no content."""
    return json.loads(response.content) if response.content else None


def call(posthouse: Posthouse, name: str, /, *path: Any, **arguments: Any) -> Any:
    """The JSON that an operation answers with. Raises as the operation does."""
    return content(operation(name)(*path, client=posthouse.client, **arguments))


def items(
    posthouse: Posthouse, name: str, filters: Mapping[str, Any] | None = None, *, most: int | None = None
) -> Iterator[dict[str, Any]]:
    """The items of a list, page after page, at most `most`. Raises CommandError for a filter that it does not have."""
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
    """Filters by the names that the operation has for them: those that are words of Python end with an underscore."""
    names = [each for each in inspect.signature(operation(name)).parameters if each not in _NO_FILTERS]
    arguments = {}
    for filter_name, value in filters.items():
        argument = filter_name if filter_name in names else f"{filter_name}_"
        if argument not in names:
            known = ", ".join(each.removesuffix("_") for each in names)
            raise CommandError(f"there is no filter {filter_name!r}; there are {known}", ExitStatus.USAGE)
        arguments[argument] = value
    return arguments
