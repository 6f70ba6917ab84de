"""Adds defaults when a body is read. The database contains only the members that a client has set. So stored objects
follow a default that changes with a release, or that follows from another member.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Container, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from services.config_api.resources.description import Body, Resource
from services.config_api.resources.fields import Model

_MISSING = object()


def complete(resource: Resource, stored: Body) -> Body:
    """Returns the stored body with all members of its schema, in the order of the schema. Secrets and hidden members do
    not change.
    """
    return _completed(resource.model, stored)


def without_repeated_defaults(given: Body, stored: Body, shown: Body) -> Body:
    """Returns the members that a client has set in a body that it read, changed and sent back.

    `given` are the members that it sent, `stored` those that were set before, and `shown` all members as it read them.
    A member that was not set, and that the client sent back with its shown value, is still not set. So it continues to
    follow its default.
    """
    kept: Body = {}
    for name, value in given.items():
        before, seen = stored.get(name, _MISSING), shown.get(name, _MISSING)
        if isinstance(value, dict) and isinstance(seen, dict):
            inner = without_repeated_defaults(value, before if isinstance(before, dict) else {}, seen)
            if inner or before is not _MISSING or not value:
                kept[name] = inner
        elif isinstance(value, bool) is not isinstance(seen, bool) or value != seen:
            kept[name] = value
        elif before is not _MISSING:
            kept[name] = before
    return kept


def without_derived(resource: Resource, body: Body, stored: Body) -> Body:
    """Returns a complete body without the members that are not set and whose values follow from other members."""
    return _without_derived(resource.model, body, stored)


def _without_derived(model: type[BaseModel], body: Body, stored: Mapping[str, Any]) -> Body:
    members, derive = _plan(model)
    dropped = set() if derive is None else derive(body, stored.keys()).keys() - stored.keys()
    nested = {name: _models(model.model_fields[name].annotation) for name, _, complete_it in members if complete_it}
    kept: Body = {}
    for name, value in body.items():
        if name in dropped:
            continue
        models = nested.get(name, [])
        is_object = isinstance(value, dict) and len(models) == 1
        kept[name] = _without_derived(models[0], value, stored.get(name) or {}) if is_object else value
    return kept


def _completed(model: type[BaseModel], stored: Mapping[str, Any]) -> Body:
    members, derive = _plan(model)
    body: Body = {}
    for name, default, nested in members:
        value = stored.get(name, _MISSING)
        if value is _MISSING:
            if default is not _MISSING:
                body[name] = copy.deepcopy(default) if isinstance(default, (dict, list)) else default
        else:
            body[name] = value if nested is None else nested(value)
    for name, value in stored.items():
        if name not in body:
            body[name] = value
    if derive is not None:
        body.update({name: value for name, value in derive(body, stored.keys()).items() if name not in stored})
    return body


_Nested = Callable[[Any], Any]
_Derive = Callable[[Mapping[str, Any], Container[str]], Mapping[str, Any]]


@functools.cache
def _plan(model: type[BaseModel]) -> tuple[list[tuple[str, Any, _Nested | None]], _Derive | None]:
    """Returns a list of (name, default, function that completes the value) for the members of a model, and the function
    that derives defaults from other members.
    """
    members = [
        (name, _default(info), _nested(info.annotation))
        for name, info in model.model_fields.items()
        if not _is_secret(info)
    ]
    has_derived = issubclass(model, Model) and model.derived.__func__ is not Model.derived.__func__  # type: ignore[attr-defined]
    return members, model.derived if has_derived and issubclass(model, Model) else None


def _is_secret(info: FieldInfo) -> bool:
    extra = info.json_schema_extra
    return isinstance(extra, dict) and extra.get("writeOnly") is True


def _default(info: FieldInfo) -> Any:
    default = info.get_default(call_default_factory=True, validated_data={})
    return _MISSING if default is PydanticUndefined else to_jsonable_python(default)


def _nested(annotation: Any) -> _Nested | None:
    """Returns the function that completes a value of this type, or None when there is nothing to complete."""
    if get_origin(annotation) is Annotated:
        return _nested(get_args(annotation)[0])
    if get_origin(annotation) is list:
        of_item = _nested(get_args(annotation)[0])
        return None if of_item is None else lambda values: [of_item(value) for value in values]
    models = _models(annotation)
    if not models:
        return None

    def completed(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return _completed(models[0] if len(models) == 1 else _of_kind(models, value), value)

    return completed


def _models(annotation: Any) -> list[type[BaseModel]]:
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [model for member in get_args(annotation) for model in _models(member)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _of_kind(models: list[type[BaseModel]], value: Mapping[str, Any]) -> type[BaseModel]:
    """Returns the model for the `kind` of the value. Raises ValueError when no model has this kind."""
    for model in models:
        kind = model.model_fields["kind"].annotation
        if get_origin(kind) is Literal and value.get("kind") in get_args(kind):
            return model
    raise ValueError("a stored object has a kind that this release does not know")
