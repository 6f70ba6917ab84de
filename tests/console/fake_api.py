"""A fake API that makes every answer from the OpenAPI document, with one given text in every free text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

_DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[2] / "openapi.json").read_text())
_DOCUMENT_TAG = '"document"'
_MOMENT = "2030-01-31T12:00:00.000Z"
_DEEPEST = 12


class FakeApi:
    """A fake API. Every field of free text contains `text`. With `nulls`, every value that may be null is null.

    With `items`, every list has one item.
    """

    document = _DOCUMENT

    def __init__(self, text: str, *, nulls: bool = False, items: bool = True) -> None:
        self.change(text, nulls=nulls, items=items)
        self._routes = [
            (re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)) + "$"), operations)
            for path, operations in _DOCUMENT["paths"].items()
        ]

    def change(self, text: str, *, nulls: bool = False, items: bool = True) -> None:
        """Changes what all later answers contain."""
        self._text = text
        self._nulls = nulls
        self._items = items

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        if path == "/openapi.json":
            # Like the real API, this answers 304 to a client that already has the document.
            if request.headers.get("If-None-Match") == _DOCUMENT_TAG:
                return httpx.Response(304)
            return httpx.Response(200, json=_DOCUMENT, headers={"ETag": _DOCUMENT_TAG})
        for pattern, operations in self._routes:
            operation = operations.get(request.method.lower())
            if operation is not None and pattern.match(path):
                for status, answer in operation["responses"].items():
                    if status.startswith("2"):
                        return self._filled(int(status), answer)
        return httpx.Response(404, json={"title": self._text, "status": 404})

    def _filled(self, status: int, answer: Mapping[str, Any]) -> httpx.Response:
        if "$ref" in answer:
            answer = _resolved(answer["$ref"])
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        headers = {"ETag": '"1"'}
        if schema is None:
            return httpx.Response(status, headers=headers)
        value = self.value(schema)
        if isinstance(value, dict) and "role" in value and "client_address" in value:
            value["role"] = "admin"
        return httpx.Response(status, json=value, headers=headers)

    def value(self, schema: Mapping[str, Any], depth: int = 0) -> Any:
        """Returns a value that the schema allows, with every optional member."""
        if "$ref" in schema:
            schema = {**_resolved(schema["$ref"]), **{name: value for name, value in schema.items() if name != "$ref"}}
        if self._nulls and "null" in _kinds(schema):
            return None
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self.value(next(each for each in schema[union] if each.get("type") != "null"), depth)
        if "allOf" in schema:
            return self.value(schema["allOf"][0], depth)
        if "const" in schema:
            return schema["const"]
        choices = schema.get("enum") or schema.get("x-extensible-enum")
        if choices:
            return choices[0]
        kind = schema.get("type", "string")
        if isinstance(kind, list):
            kind = next(each for each in kind if each != "null")
        match kind:
            case "object":
                if depth > _DEEPEST:
                    return {}
                members = {name: self.value(each, depth + 1) for name, each in schema.get("properties", {}).items()}
                return members or {self._text: self._text}
            case "array":
                return [] if not self._items or depth > _DEEPEST else [self.value(schema["items"], depth + 1)]
            case "integer" | "number":
                return schema.get("minimum", 0) + 1
            case "boolean":
                return True
            case _:
                return _MOMENT if schema.get("format") == "date-time" else self._text


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    """Returns the types that a value may have."""
    kind = schema.get("type", [])
    unions = [each.get("type") for union in ("anyOf", "oneOf") for each in schema.get(union, ())]
    return {*([kind] if isinstance(kind, str) else kind), *(each for each in unions if isinstance(each, str))}


def _resolved(reference: str) -> dict[str, Any]:
    found: Any = _DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    resolved: dict[str, Any] = found
    return resolved
