"""The differences of two bodies, member by member, without secrets."""

from __future__ import annotations

import json
from typing import Any

from services.config_api.resources.defaults import complete
from services.config_api.resources.description import Body, Resource, member, shown_body


def difference(resource: Resource, before: Body | None, after: Body | None) -> list[dict[str, Any]]:
    """Returns the differences as [{pointer, before, after}], without absent values. For a secret, the result only says
    that it was set, changed or removed.

    Both bodies are in their stored form. Members that are not set are compared by their present defaults.
    """
    found: list[dict[str, Any]] = []
    before = None if before is None else complete(resource, before)
    after = None if after is None else complete(resource, after)
    _compare(
        "",
        None if before is None else shown_body(resource, before),
        None if after is None else shown_body(resource, after),
        found,
    )
    for secret in resource.secrets:
        old, new = member(before, secret.path), member(after, secret.path)
        if old != new:
            event = "set" if old is None else "removed" if new is None else "changed"
            found.append({"pointer": secret.pointer, "secret": event})
    return found


def _compare(pointer: str, before: Any, after: Any, found: list[dict[str, Any]]) -> None:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            step = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            _compare(step, before.get(name), after.get(name), found)
        return
    entry: dict[str, Any] = {"pointer": pointer}
    if before is not None:
        entry["before"] = before
    if after is not None:
        entry["after"] = after
    found.append(entry)


def load(text: str | None) -> Body | None:
    """Returns a body from its stored text, or None when there is no text."""
    if text is None:
        return None
    body: Body = json.loads(text)
    return body


def dump(body: Body) -> str:
    """Returns the text in which a body is stored. The order of its members does not change."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
