"""Values that an API could return for a schema. They are made without the console's code that reads schemas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

_DEEPEST = 8


class SchemaValues:
    """Strategies for the schemas of a document. Read-only and write-only members are left out."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def of(self, schema: Mapping[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
        schema = self.resolved(schema)
        if depth > _DEEPEST:
            return st.none()
        if "const" in schema:
            return st.just(schema["const"])
        for word in ("oneOf", "anyOf"):
            if word in schema:
                return st.one_of([self.of(option, depth + 1) for option in schema[word]])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        kinds = schema.get("type", "any")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        values = st.one_of([self._typed(kind, schema, depth) for kind in kinds])
        # A text that may be null is null when it is empty, because a form has one control for both.
        return values.filter(lambda value: value != "") if "null" in kinds else values

    def resolved(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        schema = dict(schema)
        while "$ref" in schema:
            target: Any = self._document
            for part in schema.pop("$ref").removeprefix("#/").split("/"):
                target = target[part]
            schema = {**target, **schema}
        return schema

    def _typed(self, kind: str, schema: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
        match kind:
            case "null":
                return st.none()
            case "boolean":
                return st.booleans()
            case "integer":
                return st.integers(int(schema.get("minimum", -1000)), int(schema.get("maximum", 10**15)))
            case "number":
                least, most = schema.get("minimum", -1e6), schema.get("maximum", 1e6)
                return st.floats(least, most, allow_nan=False) | st.integers(-(-int(least) // 1), int(most)).filter(
                    lambda value: least <= value <= most
                )
            case "string":
                return _texts(schema)
            case "array":
                items = self.of(schema.get("items", {}), depth + 1)
                least = schema.get("minItems", 0)
                return st.lists(items, min_size=least, max_size=max(least, min(4, schema.get("maxItems", 4))))
            case "object" if schema.get("properties"):
                return st.fixed_dictionaries(
                    {
                        name: self.of(member, depth + 1)
                        for name, member in schema["properties"].items()
                        if not self._is_one_sided(member)
                    }
                )
        return st.dictionaries(st.text("abc", min_size=1), st.integers() | st.text("xyz"), max_size=2)

    def _is_one_sided(self, member: Mapping[str, Any]) -> bool:
        member = self.resolved(member)
        inner = [self.resolved(option) for option in member.get("anyOf", ())]
        return any(
            each.get("readOnly") or each.get("writeOnly") or each.get("format") == "password"
            for each in (member, *inner)
        )


def _texts(schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='milliseconds')}Z")
    least, most = schema.get("minLength", 0), min(schema.get("maxLength", 60), 60)
    characters = st.characters(
        min_codepoint=0x20, exclude_characters="\u007f\u0085\u2028\u2029", exclude_categories=["Cs"]
    )
    texts = st.text(characters, min_size=least, max_size=max(least, most))
    if schema.get("examples"):
        texts |= st.sampled_from([each for each in schema["examples"] if isinstance(each, str)] or ["x"])
    if pattern := schema.get("pattern"):
        matching = st.from_regex(re.compile(pattern.replace("$", r"\Z")), fullmatch=False)
        texts = st.one_of(texts, matching).filter(
            lambda text: re.search(pattern, text) is not None and least <= len(text) <= schema.get("maxLength", 10**6)
        )
    # Texts of the API have no blanks at their ends and no line breaks.
    return texts.filter(lambda text: text == text.strip() and "\n" not in text and "\r" not in text)
