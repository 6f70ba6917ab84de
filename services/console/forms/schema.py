"""Reads a JSON schema of the OpenAPI document as a tree of members. This module is pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

# Below this depth every schema is edited as JSON, because it may refer to itself.
_DEEPEST = 12
# A longer text gets an input with several lines.
_LONGEST_LINE = 2000

Schema = Mapping[str, Any]


class Kind(StrEnum):
    """The kind of input for a member."""

    TEXT = "text"
    LONG_TEXT = "long_text"
    INTEGER = "integer"
    NUMBER = "number"
    MOMENT = "moment"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    FLAG = "flag"
    CHOICE = "choice"
    # A list of texts or numbers, one on each line.
    LINES = "lines"
    # A list of values of an enumeration.
    CHECKS = "checks"
    # A list of objects.
    ROWS = "rows"
    GROUP = "group"
    VARIANTS = "variants"
    # One value that never changes, for example the discriminator of a variant.
    CONSTANT = "constant"
    # Everything that no other kind can show.
    JSON = "json"


class Absent:
    """The type of ABSENT, which stands for a member that is left out. This is not the same as null."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of a member that has several forms. `member` is None for null and for a member that is left out."""

    key: str
    label: str
    description: str = ""
    member: Member | None = None
    value: Any = None


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object, or a whole body. `default` is ABSENT when the schema names none."""

    name: str
    kind: Kind
    description: str = ""
    required: bool = False
    nullable: bool = False
    read_only: bool = False
    default: Any = ABSENT
    # minimum, maximum, minLength, maxLength, minItems, maxItems, pattern, format and examples, as in the schema.
    bounds: Mapping[str, Any] = field(default_factory=dict)
    # The values of an enumeration, or the only value of a constant.
    values: tuple[Any, ...] = ()
    members: tuple[Member, ...] = ()
    item: Member | None = None
    variants: tuple[Variant, ...] = ()
    # The member in each variant that tells which variant it is.
    discriminator: str = ""

    @property
    def label(self) -> str:
        """Returns the name as words."""
        return in_words(self.name)

    @property
    def takes_empty_text(self) -> bool:
        """Whether the empty text is a value of this member."""
        if self.bounds.get("minLength", 0) > 0 or self.bounds.get("format"):
            return False
        try:
            return re.search(self.bounds.get("pattern", ""), "") is not None
        except re.error:
            return False


_BOUNDS = (
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
    *("pattern", "format", "examples"),
)


class Schemas:
    """The schemas of a document, which refer to each other."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        # The members of groups that were read, by the identity of the schema from which they were read, and by their
        # depth. They are cached because many operations refer to the same schema.
        self._members: dict[tuple[int, int, int], tuple[Member, ...]] = {}

    def resolve(self, schema: Schema) -> Schema:
        """Returns the schema with its references resolved. Members beside `$ref` take precedence."""
        beside = dict(schema)
        while (reference := beside.pop("$ref", None)) is not None:
            target = self.target(reference)
            beside = {**target, **beside} if "$ref" not in target else {**beside, "$ref": target["$ref"]}
        return beside

    def target(self, reference: str) -> Schema:
        """Returns the part of the document to which a reference leads."""
        found: Any = self._document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        target: Schema = found
        return target

    def body(self, schema: Schema) -> Member:
        """Returns the member for a whole body. When the body may be null, the member is that of its other value. Forms
        do not show the read-only members of a body.
        """
        member = self.member("", schema, required=True)
        inner = [variant.member for variant in member.variants if variant.member is not None]
        return inner[0] if len(inner) == 1 and not member.discriminator else member

    def member(self, name: str, schema: Schema, *, required: bool = False, depth: int = 0) -> Member:
        """Returns a member with this schema."""
        schema = self.resolve(schema)
        schema, nullable = self._without_null(schema)
        begun = Member(
            name=name,
            kind=Kind.JSON,
            description=str(schema.get("description", "")),
            required=required,
            nullable=nullable,
            read_only=bool(schema.get("readOnly", False)),
            default=schema.get("default", ABSENT),
            bounds={bound: schema[bound] for bound in _BOUNDS if bound in schema},
        )
        if depth > _DEEPEST:
            return begun
        return self._typed(begun, schema, depth)

    def _typed(self, member: Member, schema: Schema, depth: int) -> Member:
        if "const" in schema:
            return replace(member, kind=Kind.CONSTANT, values=(schema["const"],))
        if "discriminator" in schema:
            return self._union(member, schema, depth)
        if "enum" in schema:
            return _choice(member, schema["enum"])
        match schema.get("type"):
            case "string":
                return replace(member, kind=_kind_of_text(schema))
            case "integer":
                return replace(member, kind=Kind.INTEGER)
            case "number":
                return replace(member, kind=Kind.NUMBER)
            case "boolean":
                return _flag(member)
            case "array":
                return self._list(member, schema, depth)
            case "object":
                return self._group(member, schema, depth)
        return member

    def _without_null(self, schema: Schema) -> tuple[Schema, bool]:
        """Returns the schema of the values that are not null, and whether null is also a value."""
        kinds = schema.get("type")
        if isinstance(kinds, list):
            rest = [kind for kind in kinds if kind != "null"]
            return {**schema, "type": rest[0] if len(rest) == 1 else rest}, "null" in kinds
        for word in ("anyOf", "oneOf"):
            options = [self.resolve(option) for option in schema.get(word, ())]
            rest = [option for option in options if option.get("type") != "null"]
            if len(rest) == len(options):
                continue
            around = {name: value for name, value in schema.items() if name != word}
            if len(rest) == 1 and "discriminator" not in schema:
                # In a merge patch an optional value may contain another one, so null may occur twice.
                inner, _ = self._without_null(rest[0])
                return {**inner, **around}, True
            return {**around, word: rest}, True
        return schema, False

    def _union(self, member: Member, schema: Schema, depth: int) -> Member:
        discriminator = schema["discriminator"]["propertyName"]
        mapping = schema["discriminator"].get("mapping", {})
        variants = []
        for key, reference in mapping.items():
            inner = self.member("", {"$ref": reference}, required=True, depth=depth + 1)
            if inner.kind is not Kind.GROUP:
                return member
            variants.append(Variant(key, in_words(key), inner.description, inner))
        return replace(member, kind=Kind.VARIANTS, variants=(*_missing(member), *variants), discriminator=discriminator)

    def _list(self, member: Member, schema: Schema, depth: int) -> Member:
        item = self.member(member.name, schema.get("items", {}), required=True, depth=depth + 1)
        if item.kind is Kind.GROUP:
            made = replace(member, kind=Kind.ROWS, item=item)
        elif item.kind is Kind.CHOICE and not item.nullable:
            made = replace(member, kind=Kind.CHECKS, values=item.values, item=item)
        elif item.kind in (Kind.TEXT, Kind.INTEGER, Kind.NUMBER) and not item.nullable:
            made = replace(member, kind=Kind.LINES, item=item)
        else:
            return member
        return _switched(made) if member.nullable else made

    def _group(self, member: Member, schema: Schema, depth: int) -> Member:
        properties: Mapping[str, Schema] = schema.get("properties", {})
        if not properties:
            return member
        required: Sequence[str] = schema.get("required", ())
        key = (id(properties), id(required), depth)
        members = self._members.get(key)
        if members is None:
            members = self._members[key] = tuple(
                self.member(name, inner, required=name in required, depth=depth + 1)
                for name, inner in properties.items()
            )
        group = replace(member, kind=Kind.GROUP, members=members)
        may_be_left_out = not member.required and any(inner.required for inner in members)
        return _switched(group) if member.nullable or may_be_left_out else group


def _switched(member: Member) -> Member:
    """Returns the member as a choice between no value and a value."""
    inner = replace(member, required=True, nullable=False, description="")
    return replace(
        member,
        kind=Kind.VARIANTS,
        variants=(*_missing(member), Variant("set", "Set", "", inner)),
        members=(),
        item=None,
    )


def _missing(member: Member) -> tuple[Variant, ...]:
    """Returns the variant without a value, if the member may be null or left out."""
    if member.nullable:
        return (Variant("null", "None"),)
    if not member.required:
        return (Variant("absent", "As by default", value=ABSENT),)
    return ()


def _choice(member: Member, values: Sequence[Any]) -> Member:
    values = tuple(value for value in values if value is not None)
    if not all(isinstance(value, str) and value for value in values):
        return member
    return replace(member, kind=Kind.CHOICE, values=values)


def _flag(member: Member) -> Member:
    """Returns a checkbox when there are only two states, and otherwise a choice."""
    if member.nullable or (member.default is ABSENT and not member.required):
        return replace(member, kind=Kind.CHOICE, values=(True, False))
    return replace(member, kind=Kind.FLAG)


def _kind_of_text(schema: Schema) -> Kind:
    if schema.get("writeOnly") or schema.get("format") == "password":
        return Kind.SECRET
    if schema.get("format") == "date-time":
        return Kind.MOMENT
    is_open = not schema.get("pattern") and not schema.get("format")
    return Kind.LONG_TEXT if is_open and schema.get("maxLength", _LONGEST_LINE + 1) > _LONGEST_LINE else Kind.TEXT


# The words that `in_words` spells in another way, for example in capitals.
_SPELLED = {
    **{word: word.upper() for word in ("arc", "dkim", "dmarc", "dns", "http", "id", "ip", "lmtp", "mb", "smtp", "spf")},
    **{word: word.upper() for word in ("tls", "url", "dnsbl", "api", "helo", "mx")},
    "ms": "ms",
}


def in_words(name: str) -> str:
    """Returns a constant name of the API as words, with a capital at its start."""
    words = [_SPELLED.get(word, word) for word in re.split(r"[_\- ]+", name) if word]
    text = " ".join(words)
    return text[:1].upper() + text[1:]
