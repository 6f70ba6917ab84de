"""The fields of a form in the form in which a page shows them: texts, limits in words, and errors.
This module is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.console.forms.schema import ABSENT, Kind, Member
from services.console.forms.texts import Texts, child, chosen_variant, of_variant, pointer

# Longer examples and defaults are not shown, because they would hide the field.
_LONGEST_HINT = 120


@dataclass(frozen=True, slots=True)
class Option:
    """One value of a choice. If the value is a variant, `fields` are the fields of the variant."""

    value: str
    label: str
    is_chosen: bool
    description: str = ""
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One object in a list."""

    number: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `text` is its present value, and `lines` the height of its input in lines."""

    kind: Kind
    name: str
    label: str
    description: str
    hint: str
    required: bool
    text: str = ""
    lines: int = 1
    is_ticked: bool = False
    may_be_removed: bool = False
    example: str = ""
    errors: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    fields: tuple[Field, ...] = ()
    rows: tuple[Row, ...] = ()

    @property
    def id(self) -> str:
        """Returns the id of the field's control in the page."""
        return "field" + self.name.replace("/", "-").replace(":", "-")


class Errors:
    """The errors by field. Each error is shown once: at the field that it names, or at the field around it."""

    def __init__(self, by_pointer: Iterable[tuple[str, str]] = (), by_name: Mapping[str, str] | None = None) -> None:
        self._by_pointer = list(by_pointer)
        self._by_name = dict(by_name or {})
        self.some = bool(self._by_pointer or self._by_name)

    def take(self, name: str, *, below: bool = False) -> tuple[str, ...]:
        """Returns the errors of a field. With `below`, the errors of the fields inside this field are included."""
        at = pointer(name)
        own = [(where, text) for where, text in self._by_pointer if where == at or (below and _is_below(where, at))]
        self._by_pointer = [error for error in self._by_pointer if error not in own]
        texts = [_at_place(where.removeprefix(at), text) for where, text in own]
        if name in self._by_name:
            texts.append(self._by_name.pop(name))
        return tuple(texts)

    @property
    def rest(self) -> tuple[str, ...]:
        """Returns the errors that belong to no shown field."""
        return tuple(f"{where}: {text}" if where else text for where, text in self._by_pointer)


def _is_below(where: str, at: str) -> bool:
    return where.startswith(f"{at}/")


def _at_place(below: str, text: str) -> str:
    """Returns the text of an error, with the number of its entry in a list."""
    number = below.removeprefix("/").split("/")[0]
    return f"Number {int(number) + 1}: {text}" if number.isdecimal() else text


def fields_of(
    member: Member, texts: Texts, errors: Errors | None = None, name: str = "", *, is_new: bool = True
) -> tuple[Field, ...]:
    """Returns the fields of a body. `is_new` means that nothing is stored yet, so no secret can be removed."""
    errors = Errors() if errors is None else errors
    if member.kind is Kind.GROUP:
        return tuple(
            _field(each, texts, errors, child(name, each.name), is_new=is_new)
            for each in member.members
            if not each.read_only and each.kind is not Kind.CONSTANT
        )
    return (_field(member, texts, errors, name, is_new=is_new),)


def _field(member: Member, texts: Texts, errors: Errors, name: str, *, is_new: bool) -> Field:
    values = list(texts.get(name, ()))
    text = values[0] if values else ""
    inner: dict[str, Any] = {}
    match member.kind:
        case Kind.GROUP:
            inner["fields"] = fields_of(member, texts, errors, name, is_new=is_new)
        case Kind.VARIANTS:
            inner["options"] = _variants(member, texts, errors, name, is_new=is_new)
        case Kind.ROWS:
            assert member.item is not None  # noqa: S101 - a list has items
            inner["rows"] = tuple(
                Row(row, fields_of(member.item, texts, errors, child(name, row), is_new=is_new)) for row in values
            )
        case Kind.CHOICE:
            inner["options"] = _options(member, text)
        case Kind.CHECKS:
            # The selected values come first, so that their order is kept.
            known = [str(value) for value in member.values]
            ordered = [*values, *(value for value in known if value not in values)]
            inner["options"] = tuple(Option(value, _value_in_words(value), value in values) for value in ordered)
        case Kind.LINES | Kind.LONG_TEXT | Kind.JSON:
            inner["lines"] = min(max(text.count("\n") + 2, 3), 12)
    return Field(
        kind=member.kind,
        name=name,
        label=member.label,
        description=_description(member),
        hint=_hint(member),
        required=member.required and not member.nullable and member.kind not in (Kind.FLAG, Kind.GROUP),
        text="" if member.kind is Kind.SECRET else text,
        is_ticked=bool(values),
        may_be_removed=member.kind is Kind.SECRET and member.nullable and not is_new,
        example=_example(member),
        errors=errors.take(name, below=True),
        **inner,
    )


def _variants(member: Member, texts: Texts, errors: Errors, name: str, *, is_new: bool) -> tuple[Option, ...]:
    chosen = chosen_variant(member, texts, name)
    shown = []
    for variant in member.variants:
        inner: tuple[Field, ...] = ()
        if variant.member is not None:
            # An error belongs to the variant that was sent.
            own = errors if variant is chosen else Errors()
            inner = fields_of(variant.member, texts, own, of_variant(name, variant), is_new=is_new)
        shown.append(Option(variant.key, variant.label, variant is chosen, variant.description, inner))
    return tuple(shown)


def _options(member: Member, text: str) -> tuple[Option, ...]:
    labels = {True: ("true", "Yes"), False: ("false", "No")}
    options = [labels[value] if isinstance(value, bool) else (value, _value_in_words(value)) for value in member.values]
    if member.nullable:
        options.insert(0, ("", "Not set"))
    elif not member.required:
        options.insert(0, ("", "As by default"))
    elif not text:
        options.insert(0, ("", "Choose"))
    if text and text not in {value for value, _ in options}:
        # A newer release of the API may have values that its document does not name yet.
        options.append((text, text))
    return tuple(Option(value, label, value == text) for value, label in options)


def _value_in_words(value: str) -> str:
    """Returns the label of a value of an enumeration. A value that is only a symbol is not changed."""
    return value.replace("_", " ").strip() or value


def _description(member: Member) -> str:
    """Returns the description of the member, and of each item of a list."""
    texts = [member.description]
    if member.kind is Kind.LINES and member.item is not None:
        texts.append(member.item.description)
    return " ".join(dict.fromkeys(text for text in texts if text))


def _hint(member: Member) -> str:
    """Returns limits and default in words."""
    parts = [_range(member)]
    if member.kind is Kind.LINES:
        parts.append("One on each line.")
    if member.kind is Kind.MOMENT:
        parts.append("In UTC.")
    if member.kind is Kind.SECRET and not member.required:
        parts.append("Left empty: what is set stays.")
    if member.kind is Kind.JSON:
        parts.append("Written as JSON.")
    parts.append(_default(member))
    return " ".join(part for part in parts if part)


def _range(member: Member) -> str:
    bounds = member.bounds
    if member.kind in (Kind.INTEGER, Kind.NUMBER):
        return _between(bounds.get("minimum"), bounds.get("maximum"), "")
    if member.kind in (Kind.LINES, Kind.ROWS):
        return _between(bounds.get("minItems"), bounds.get("maxItems"), " entries")
    if member.kind in (Kind.TEXT, Kind.LONG_TEXT, Kind.SECRET) and "maxLength" in bounds:
        return f"At most {bounds['maxLength']:,} characters."
    return ""


def _between(least: float | None, most: float | None, unit: str) -> str:
    if least is not None and most is not None and (unit == "" or least > 0):
        return f"{_figure(least)} to {_figure(most)}{unit}."
    if most is not None:
        return f"At most {_figure(most)}{unit}."
    return f"At least {_figure(least)}{unit}." if least is not None else ""


def _figure(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.6g}"


def _default(member: Member) -> str:
    default = member.default
    if default is ABSENT or default is None or default in ("", [], {}):
        return ""
    if isinstance(default, bool):
        text = "yes" if default else "no"
    elif isinstance(default, Sequence) and not isinstance(default, str):
        text = ", ".join(map(str, default))
    else:
        text = _figure(default) if isinstance(default, (int, float)) else str(default)
    return f"Default: {text}." if len(text) <= _LONGEST_HINT else ""


def _example(member: Member) -> str:
    of_whom = member.item if member.kind is Kind.LINES and member.item is not None else member
    examples = of_whom.bounds.get("examples") or ()
    texts = [str(example) for example in examples if isinstance(example, (str, int, float))]
    if member.kind is Kind.LINES:
        return "\n".join(texts)
    return texts[0] if texts and len(texts[0]) <= _LONGEST_HINT else ""
