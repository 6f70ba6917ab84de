"""Values of the API in the form in which a page shows them. This module is pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.console.forms.schema import ABSENT, Kind, Member, in_words

# The largest number of entries of a list that a table shows.
_MOST_ENTRIES = 3


@dataclass(frozen=True, slots=True)
class Fact:
    """One value. `moment` means that it is a time. `is_exact` means that people copy it, for example a DNS record."""

    label: str
    text: str
    moment: str = ""
    is_exact: bool = False
    entries: tuple[str, ...] = ()


def facts_of(member: Member, value: Any, *, read_only: bool | None = None) -> tuple[Fact, ...]:
    """Returns the members of an object in their order. The label of a member of an inner object begins with the label
    of the outer one. If `read_only` is true, only read-only members are returned; if it is false, only the other
    members.
    """
    record = value if isinstance(value, Mapping) else {}
    return tuple(
        fact
        for each in member.members
        if read_only is None or each.read_only is read_only
        for fact in _facts(each, record.get(each.name, ABSENT), each.label)
    )


def _facts(member: Member, value: Any, label: str) -> Iterator[Fact]:
    if value is ABSENT or member.kind is Kind.SECRET or member.name == "warnings":
        return
    if isinstance(value, Mapping):
        inner = _members(member, value)
        for name, each in value.items():
            below = inner.get(name) or Member(name, Kind.JSON)
            yield from _facts(below, each, f"{label}: {in_words(name)}")
        return
    yield fact(member, value, label)


def _members(member: Member, value: Mapping[str, Any]) -> dict[str, Member]:
    if member.kind is Kind.VARIANTS:
        key = value.get(member.discriminator, "set")
        chosen = next((each.member for each in member.variants if each.key == key and each.member), None)
        return {each.name: each for each in chosen.members} if chosen else {}
    return {each.name: each for each in member.members}


def fact(member: Member, value: Any, label: str = "") -> Fact:
    """Returns one value as a fact. An object is shown as JSON."""
    label = label or member.label
    if value is ABSENT or value is None or value == "":
        return Fact(label, "none")
    if isinstance(value, bool):
        return Fact(label, "yes" if value else "no")
    if member.kind is Kind.MOMENT:
        return Fact(label, str(value), moment=str(value))
    if isinstance(value, str):
        return Fact(label, value, is_exact=member.read_only)
    if isinstance(value, Sequence):
        entries = tuple(each if isinstance(each, str) else _json(each) for each in value)
        return Fact(label, "" if entries else "none", entries=entries)
    if isinstance(value, Mapping):
        return Fact(label, _json(value), is_exact=True)
    return Fact(label, f"{value:,}" if isinstance(value, int) else plain(value))


def in_short(shown: Fact) -> Fact:
    """Returns a value for a table, where a list is reduced to its first entries."""
    if not shown.entries:
        return shown
    rest = len(shown.entries) - _MOST_ENTRIES
    text = ", ".join(shown.entries[:_MOST_ENTRIES]) + (f" and {rest:,} more" if rest > 0 else "")
    return Fact(shown.label, text)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A member to which two people have given different values."""

    label: str
    stored: str
    sent: str


def contrasts(sent: Any, stored: Any, label: str = "") -> tuple[Contrast, ...]:
    """Returns the members in which the sent and the stored object differ. Members that are never shown are left out."""
    if isinstance(sent, Mapping) and isinstance(stored, Mapping):
        return tuple(
            contrast
            for name, value in sent.items()
            if name in stored
            for contrast in contrasts(value, stored[name], f"{label}: {in_words(name)}" if label else in_words(name))
        )
    return () if sent == stored else (Contrast(label, plain(stored), plain(sent)),)


def plain(value: Any) -> str:
    """Returns a text unchanged, a whole number without its fraction, and everything else as JSON."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
