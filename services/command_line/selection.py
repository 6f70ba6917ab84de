"""The messages that a command is about: queue ids, or FIELD=VALUE terms, which are the filters of the API."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import typer

from services.command_line.failures import CommandError, ExitStatus

Terms = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID|FIELD=VALUE]...",
        help="Queue ids, or filters that must all hold: from= and to= (an address, or a domain), state=, destination=, "
        "last_reply_contains=, account_login=, client_address=, attempts_at_least=, session_id=, "
        "received_after= and received_before= (a time, or an age as 30m, 2h or 3d).",
        show_default=False,
    ),
]

_TIMES = ("received_after", "received_before")
_NUMBERS = ("attempts_at_least",)
_AGE = re.compile(r"(?:\d+(?:min|m|h|d|s) ?)+")
_PART_OF_AGE = re.compile(r"(\d+)(min|m|h|d|s)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_PARTIES = {"from": "sender", "to": "recipient"}


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen messages: those with these queue ids, or those that match these filters of the API."""

    ids: tuple[str, ...]
    filters: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Returns the filters in the form of a request's body."""
        return {
            name: value.isoformat(timespec="milliseconds") if isinstance(value, datetime.datetime) else value
            for name, value in self.filters.items()
        }


def select(terms: Sequence[str] | None) -> Selection:
    """Reads the terms of a command. Raises CommandError when they mix ids and filters, or a value is not valid."""
    ids: list[str] = []
    filters: dict[str, Any] = {}
    for term in terms or ():
        name, equals, value = term.partition("=")
        if not equals:
            ids.append(term)
            continue
        if name in _PARTIES:
            name = _PARTIES[name] if "@" in value else f"{_PARTIES[name]}_domain"
        filters[name] = _filter_value(name, value)
    if ids and filters:
        raise CommandError("queue ids and filters are given together: use the one or the other", ExitStatus.USAGE)
    return Selection(tuple(ids), filters)


def _filter_value(name: str, value: str) -> Any:
    if name in _NUMBERS:
        if not value.isdecimal():
            raise CommandError(f"{name}={value}: it is a number", ExitStatus.USAGE)
        return int(value)
    if name == "state":
        return _state(value)
    return _time(name, value) if name in _TIMES else value


def _state(value: str) -> str:
    from posthouse_client.models.delivery_state_filter import DeliveryStateFilter

    states = get_args(DeliveryStateFilter)
    if value not in states:
        raise CommandError(f"there is no state {value!r}; the states are {', '.join(states)}", ExitStatus.USAGE)
    return value


def parse_age(value: str) -> datetime.timedelta | None:
    """Returns a length of time such as `30m`, `2h` or `1d 4h`, or None when the text has another form."""
    if not _AGE.fullmatch(value):
        return None
    return datetime.timedelta(seconds=sum(int(number) * _SECONDS[unit] for number, unit in _PART_OF_AGE.findall(value)))


def _time(name: str, value: str) -> datetime.datetime:
    if (age := parse_age(value)) is not None:
        return datetime.datetime.now(datetime.UTC) - age
    try:
        time = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise CommandError(
            f"{name}={value}: it must be a time such as 2026-01-31T12:00:00Z, or an age such as 30m, 2h or 3d",
            ExitStatus.USAGE,
        ) from None
    return time if time.tzinfo is not None else time.astimezone()
