"""Converts a JSON value to the texts of a form, and the texts back to JSON. This module is pure.

The name of a field is the JSON pointer of its value, with `:variant` after a member that has several forms. Read-only
members are not shown in a form, so the texts and the JSON from them do not contain these members.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.console.forms.schema import ABSENT, Kind, Member, Variant

# The texts of a form by the names of its fields.
Texts = Mapping[str, Sequence[str]]

REMOVE = "!remove"
_YES_OR_NO = {"true": True, "false": False}


@dataclass(slots=True)
class Parsed:
    """The values of a form. `troubles` has, by the name of the field, the reason why a text is not a valid value."""

    value: Any = ABSENT
    troubles: dict[str, str] = field(default_factory=dict)


def child(name: str, member: str) -> str:
    """Returns the name of a field within another."""
    return f"{name}/{member.replace('~', '~0').replace('/', '~1')}"


def of_variant(name: str, variant: Variant) -> str:
    """Returns the name of the field under one variant."""
    return f"{name}:{variant.key}"


def pointer(name: str) -> str:
    """Returns the JSON pointer of a field's value."""
    return re.sub(r":[^/]*", "", name)


def to_texts(member: Member, value: Any, name: str = "") -> dict[str, list[str]]:
    """Returns the texts for a value. ABSENT stands for a value that does not exist yet."""
    texts: dict[str, list[str]] = {}
    _write(member, value, name, texts)
    return texts


def from_texts(member: Member, texts: Texts, name: str = "") -> Parsed:
    """Returns the JSON value of the texts."""
    parsed = Parsed()
    parsed.value = _read(member, texts, name, parsed.troubles)
    return parsed


def chosen_variant(member: Member, texts: Texts, name: str) -> Variant:
    """Returns the variant that the texts choose, or the first one when they choose none."""
    key = _first(texts, name)
    return next((variant for variant in member.variants if variant.key == key), member.variants[0])


def with_row(member: Member, texts: Texts, name: str) -> dict[str, list[str]]:
    """Returns the texts of a body with one more row in the list with this name."""
    longer = {key: list(values) for key, values in texts.items()}
    of_list = _find(member, texts, "", name)
    if of_list is not None and of_list.item is not None:
        rows = longer.get(name, [])
        number = str(1 + max((int(row) for row in rows if row.isdecimal()), default=-1))
        longer[name] = [*rows, number]
        _write(of_list.item, ABSENT, child(name, number), longer)
    return longer


def _find(member: Member, texts: Texts, at: str, name: str) -> Member | None:
    """Searches `member`, whose name is `at`, for the list of objects with the name `name`. Returns None when there is
    none.
    """
    if member.kind is Kind.ROWS and at == name:
        return member
    inner: list[tuple[str, Member]] = [(child(at, each.name), each) for each in member.members]
    inner += [(of_variant(at, variant), variant.member) for variant in member.variants if variant.member is not None]
    if member.kind is Kind.ROWS and member.item is not None:
        inner += [(child(at, row), member.item) for row in texts.get(at, ())]
    for below, each in inner:
        if name.startswith(below) and (found := _find(each, texts, below, name)) is not None:
            return found
    return None


def without_row(texts: Texts, name: str, row: str) -> dict[str, list[str]]:
    """Returns the texts without one row of a list."""
    kept = {key: list(values) for key, values in texts.items() if not key.startswith(f"{name}/{row}/")}
    return {**kept, name: [number for number in texts.get(name, ()) if number != row]}


def _write(member: Member, value: Any, name: str, texts: dict[str, list[str]]) -> None:
    if value is ABSENT:
        value = member.default
    match member.kind:
        case Kind.CONSTANT:
            return
        case Kind.GROUP:
            inner = value if isinstance(value, Mapping) else {}
            for each in member.members:
                if not each.read_only:
                    _write(each, inner.get(each.name, ABSENT), child(name, each.name), texts)
        case Kind.VARIANTS:
            _write_variants(member, value, name, texts)
        case Kind.ROWS:
            assert member.item is not None  # noqa: S101 - a list has items
            rows = value if isinstance(value, list) else []
            texts[name] = [str(number) for number in range(len(rows))]
            for number, row in enumerate(rows):
                _write(member.item, row, child(name, str(number)), texts)
        case Kind.LINES:
            lines = value if isinstance(value, list) else []
            texts[name] = ["\n".join(_plain(line) for line in lines)]
        case Kind.CHECKS:
            texts[name] = [str(each) for each in value] if isinstance(value, list) else []
        case Kind.FLAG:
            texts[name] = ["on"] if value is True else []
        case Kind.SECRET:
            texts[name] = [""]
        case Kind.JSON:
            texts[name] = ["" if value is ABSENT else json.dumps(value, ensure_ascii=False, indent=2)]
        case Kind.MOMENT:
            texts[name] = ["" if value is ABSENT or value is None else str(value).removesuffix("Z")]
        case _:
            texts[name] = ["" if value is ABSENT or value is None else _plain(value)]


def _write_variants(member: Member, value: Any, name: str, texts: dict[str, list[str]]) -> None:
    chosen = _variant_of(member, value)
    texts[name] = [chosen.key]
    for variant in member.variants:
        if variant.member is not None:
            _write(variant.member, value if variant is chosen else ABSENT, of_variant(name, variant), texts)


def _variant_of(member: Member, value: Any) -> Variant:
    if isinstance(value, Mapping) and member.discriminator:
        key = value.get(member.discriminator)
        return next((variant for variant in member.variants if variant.key == key), member.variants[0])
    if value is ABSENT or value is None:
        return member.variants[0]
    return next(variant for variant in member.variants if variant.member is not None)


def _plain(value: Any) -> str:
    """Returns a scalar as the text of its input."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _read(member: Member, texts: Texts, name: str, troubles: dict[str, str]) -> Any:
    match member.kind:
        case Kind.CONSTANT:
            return member.values[0]
        case Kind.GROUP:
            made = {
                each.name: _read(each, texts, child(name, each.name), troubles)
                for each in member.members
                if not each.read_only
            }
            return {key: value for key, value in made.items() if value is not ABSENT}
        case Kind.VARIANTS:
            variant = chosen_variant(member, texts, name)
            if variant.member is None:
                return variant.value
            return _read(variant.member, texts, of_variant(name, variant), troubles)
        case Kind.ROWS:
            assert member.item is not None  # noqa: S101 - a list has items
            rows = [_read(member.item, texts, child(name, row), troubles) for row in texts.get(name, ())]
            return _list_or_absent(member, rows)
        case Kind.LINES:
            return _list_or_absent(member, list(_lines(member, texts, name, troubles)))
        case Kind.CHECKS:
            return _list_or_absent(member, list(texts.get(name, ())))
        case Kind.FLAG:
            return bool(texts.get(name))
        case Kind.SECRET:
            return _secret(member, texts, name)
        case Kind.CHOICE:
            return _choice(member, _first(texts, name))
        case Kind.TEXT | Kind.LONG_TEXT:
            return _text(member, _first(texts, name))
    text = _first(texts, name).strip()
    if not text:
        return None if member.nullable else ABSENT
    try:
        return _scalar(member, text)
    except ValueError as error:
        troubles[name] = str(error)
        return ABSENT


def _first(texts: Texts, name: str) -> str:
    return next(iter(texts.get(name, ())), "")


def _list_or_absent(member: Member, items: list[Any]) -> Any:
    """Returns the list. An empty list is left out when it must not be empty and may be left out."""
    may_be_left_out = not member.required and member.default is ABSENT
    return ABSENT if not items and may_be_left_out and member.bounds.get("minItems", 0) > 0 else items


def _lines(member: Member, texts: Texts, name: str, troubles: dict[str, str]) -> Iterable[Any]:
    assert member.item is not None  # noqa: S101 - a list has items
    for number, line in enumerate(_first(texts, name).split("\n"), 1):
        if not (line := line.strip()):
            continue
        try:
            yield line if member.item.kind is Kind.TEXT else _scalar(member.item, line)
        except ValueError as error:
            troubles[name] = f"Line {number}: {error}"


def _secret(member: Member, texts: Texts, name: str) -> Any:
    if member.nullable and texts.get(name + REMOVE):
        return None
    return _first(texts, name) or ABSENT


def _choice(member: Member, text: str) -> Any:
    if not text:
        return None if member.nullable else ABSENT
    return _YES_OR_NO.get(text, text) if member.values == (True, False) else text


def _text(member: Member, text: str) -> Any:
    if member.kind is Kind.LONG_TEXT:
        text = text.replace("\r\n", "\n")
    if member.bounds.get("format"):
        text = text.strip()
    if text or member.required:
        return text
    if member.nullable:
        return None
    return text if member.takes_empty_text else ABSENT


def _scalar(member: Member, text: str) -> Any:
    """Returns the value of a text. Raises ValueError with a sentence for the user."""
    match member.kind:
        case Kind.INTEGER:
            if not re.fullmatch(r"-?[0-9]{1,30}", text):
                raise ValueError("This is not a whole number.")
            return int(text)
        case Kind.NUMBER:
            return _number(text)
        case Kind.MOMENT:
            return text if text[-1] in "Zz" or re.search(r"[+-]\d\d:\d\d$", text) else f"{text}Z"
        case _:
            return _json(text)


def _number(text: str) -> int | float:
    try:
        value = int(text) if re.fullmatch(r"-?[0-9]{1,30}", text) else float(text)
    except ValueError:
        raise ValueError("This is not a number.") from None
    if not math.isfinite(value):
        raise ValueError("This is not a number.")
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("This is not JSON.") from None
