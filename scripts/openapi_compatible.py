"""Compares openapi.json with that of the newest release, and fails when a client of that release would break.

docs/api-versions.md says what may change within a version of the API, and this program checks it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCUMENT = "openapi.json"
_ROLES = ("sender", "reader", "operator", "admin")
_METHODS = ("get", "put", "post", "delete", "patch")
# Keywords that limit a value. A request may break when a lower limit rises or an upper limit falls.
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")

Node = dict[str, Any]


def newest_release() -> str | None:
    """Returns the tag of the newest release in the history of this commit, or None before the first one."""
    listed = subprocess.run(
        ["git", "tag", "--list", "--merged", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    releases = [tag for tag in listed if re.fullmatch(r"v?[0-9]+\.[0-9]+\.[0-9]+", tag)]
    return max(releases, key=lambda tag: [int(part) for part in tag.lstrip("v").split(".")], default=None)


def document_of(tag: str) -> Node:
    """Returns the document at the tag."""
    shown = subprocess.run(
        ["git", "show", f"{tag}:{DOCUMENT}"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    document: Node = json.loads(shown.stdout)
    return document


def _needs_more(old_role: str, new_role: str) -> bool:
    """Whether a key with the old role can no longer call the operation. Each role in _ROLES may do what the earlier
    ones may.
    """
    if old_role in _ROLES and new_role in _ROLES:
        return _ROLES.index(new_role) > _ROLES.index(old_role)
    return old_role != new_role


@dataclass
class Comparison:
    """Compares two documents, and collects the changes that break a client of the older one."""

    old: Node
    new: Node
    breaks: list[str] = field(default_factory=list)
    _compared: set[tuple[str, str, bool]] = field(default_factory=set)

    def run(self) -> list[str]:
        """Returns the changes that break a client, each as one sentence."""
        operations = dict(_operations(self.new))
        for place, old in _operations(self.old):
            new = operations.get(place)
            if new is None:
                self.breaks.append(f"{place}: the operation is gone.")
            else:
                self._operation(place, old, new)
        return self.breaks

    def _operation(self, place: str, old: Node, new: Node) -> None:
        if old["operationId"] != new["operationId"]:
            self.breaks.append(f"{place}: operationId was {old['operationId']}.")
        if _needs_more(old["x-required-role"], new["x-required-role"]):
            self.breaks.append(f"{place}: the required role was {old['x-required-role']}.")
        self._parameters(place, old, new)
        self._body(place, old, new)
        for status, response in old["responses"].items():
            if status >= "4":
                # Errors (4XX) are not compared by status, because clients distinguish them by `type`.
                continue
            if status not in new["responses"]:
                self.breaks.append(f"{place}: it is no longer answered with {status}.")
                continue
            contents = _resolve(self.new, new["responses"][status]).get("content", {})
            for media_type, content in _resolve(self.old, response).get("content", {}).items():
                if media_type not in contents:
                    self.breaks.append(f"{place}: {status} has no {media_type} any more.")
                else:
                    where = f"{place} {status}"
                    self._schema(where, content["schema"], contents[media_type]["schema"], is_sent=False)

    def _parameters(self, place: str, old: Node, new: Node) -> None:
        before = {(each["in"], each["name"]): each for each in _parameters(self.old, old)}
        after = {(each["in"], each["name"]): each for each in _parameters(self.new, new)}
        for key, parameter in before.items():
            if key not in after:
                self.breaks.append(f"{place}: the parameter {key[1]} is gone.")
            else:
                self._schema(f"{place} {key[1]}", parameter["schema"], after[key]["schema"], is_sent=True)
        for key, parameter in after.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                self.breaks.append(f"{place}: the parameter {key[1]} is needed.")

    def _body(self, place: str, old: Node, new: Node) -> None:
        before, after = old.get("requestBody", {}), new.get("requestBody", {})
        if after.get("required") and not before.get("required"):
            self.breaks.append(f"{place}: a body is needed.")
        for media_type, content in before.get("content", {}).items():
            if media_type not in after.get("content", {}):
                self.breaks.append(f"{place}: a body of {media_type} is no longer accepted.")
            else:
                self._schema(f"{place} body", content["schema"], after["content"][media_type]["schema"], is_sent=True)

    def _schema(self, place: str, old: Node, new: Node, *, is_sent: bool) -> None:
        """Compares two schemas. With `is_sent`, clients send the value, so everything that was accepted must still be
        accepted. Otherwise clients read it, so it must not contain new kinds of values.
        """
        if "$ref" in old and "$ref" in new:
            compared = (old["$ref"], new["$ref"], is_sent)
            if compared in self._compared:
                return
            self._compared.add(compared)
        old, new = _resolve(self.old, old), _resolve(self.new, new)
        wider, narrower = (new, old) if is_sent else (old, new)
        if not _types(narrower) <= _types(wider):
            self.breaks.append(f"{place}: its type was {old.get('type')} and is {new.get('type')}.")
        if "enum" in wider and not set(narrower.get("enum", [None])) <= set(wider["enum"]):
            self.breaks.append(f"{place}: its values were {old.get('enum')} and are {new.get('enum')}.")
        if is_sent:
            self._bounds(place, old, new)
        self._members(place, old, new, is_sent=is_sent)
        self._unions(place, old, new, is_sent=is_sent)
        for key in ("items", "additionalProperties"):
            if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
                self._schema(f"{place}/{key}", old[key], new[key], is_sent=is_sent)

    def _bounds(self, place: str, old: Node, new: Node) -> None:
        for key in _LOWER_BOUNDS:
            if key in new and new[key] > old.get(key, float("-inf")):
                self.breaks.append(f"{place}: {key} was {old.get(key)} and is {new[key]}.")
        for key in _UPPER_BOUNDS:
            if key in new and new[key] < old.get(key, float("inf")):
                self.breaks.append(f"{place}: {key} was {old.get(key)} and is {new[key]}.")
        if "pattern" in new and new["pattern"] != old.get("pattern"):
            self.breaks.append(f"{place}: it has another pattern.")

    def _members(self, place: str, old: Node, new: Node, *, is_sent: bool) -> None:
        members = new.get("properties", {})
        for name, member in old.get("properties", {}).items():
            if name in members:
                self._schema(f"{place}/{name}", member, members[name], is_sent=is_sent)
            elif not (is_sent and member.get("readOnly")) and not (not is_sent and member.get("writeOnly")):
                self.breaks.append(f"{place}: the member {name} is gone.")
        needed, was_needed = set(new.get("required", ())), set(old.get("required", ()))
        lost = needed - was_needed if is_sent else was_needed - needed
        for name in sorted(lost):
            self.breaks.append(f"{place}: the member {name} is {'needed' if is_sent else 'not always there'}.")

    def _unions(self, place: str, old: Node, new: Node, *, is_sent: bool) -> None:
        for key in ("oneOf", "anyOf"):
            before = {_name(member): member for member in old.get(key, ())}
            after = {_name(member): member for member in new.get(key, ())}
            lost = before.keys() - after.keys() if is_sent else after.keys() - before.keys()
            if lost and before:
                self.breaks.append(f"{place}: {key} has {'lost' if is_sent else 'got'} {', '.join(sorted(lost))}.")
            for name in before.keys() & after.keys():
                self._schema(place, before[name], after[name], is_sent=is_sent)


def _operations(document: Node) -> Iterator[tuple[str, Node]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                # The name of a parameter in a path is not a part of the contract.
                yield f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}", item[method]


def _parameters(document: Node, operation: Node) -> Iterator[Node]:
    for parameter in operation.get("parameters", ()):
        found = _resolve(document, parameter)
        if found["in"] != "path":
            yield found


def _resolve(document: Node, node: Node) -> Node:
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        # Keywords beside a reference apply as well.
        node = {**found, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _types(schema: Node) -> set[str]:
    """Returns the types that a value may have. A schema without a type accepts every value."""
    named = schema.get("type")
    types = {named} if isinstance(named, str) else set(named or ())
    if not types:
        return {"null", "boolean", "integer", "number", "string", "array", "object"}
    return types | ({"integer"} if "number" in types else set())


def _name(member: Node) -> str:
    return str(member.get("$ref") or member.get("type") or member.get("const"))


def main() -> int:
    """Prints the changes that break a client. Returns 1 when there are any."""
    tag = newest_release()
    if tag is None:
        print("openapi-compatible: there is no release yet, so there is nothing to compare with")
        return 0
    breaks = Comparison(document_of(tag), json.loads((ROOT / DOCUMENT).read_text())).run()
    for sentence in breaks:
        print(sentence)
    print(f"openapi-compatible: {len(breaks)} changes break a client of {tag}" if breaks else f"as {tag} has it")
    return 1 if breaks else 0


if __name__ == "__main__":
    sys.exit(main())
