"""JSON Merge Patch (RFC 7396), and the schema of a patch, in which all members may be absent or null."""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from services.config_api.resources.fields import Model


def merge(target: Any, patch: Any) -> Any:
    """Applies a patch as in RFC 7396 section 2: null removes a member, objects are merged, and other values replace."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


@functools.cache
def patch_model(model: type[BaseModel]) -> type[BaseModel]:
    """Makes the schema of a merge patch of `model`. The schema checks only types and limits. The merged object is
    validated afterwards.
    """
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        patched = _patched(info)
        # A required member cannot be reset by null.
        shape = patched if info.is_required() else patched | None
        fields[name] = (shape, Field(default=None, description=info.description))
    return _model(model.__name__, fields)


def _patch_of_kinds(models: Sequence[type[BaseModel]]) -> type[BaseModel]:
    """Makes the schema for an object of several kinds. It has the members of all kinds, because a patch may change the
    kind. Every member accepts null, because null removes a member of the old kind.
    """
    fields: dict[str, Any] = {}
    for name in dict.fromkeys(name for model in models for name in model.model_fields):
        infos = [model.model_fields[name] for model in models if name in model.model_fields]
        described = " ".join(dict.fromkeys(info.description for info in infos if info.description)) or None
        fields[name] = (_of_any(infos) | None, Field(default=None, description=described))
    return _model(_common_base(models).__name__, fields)


def _of_any(infos: Sequence[FieldInfo]) -> Any:
    """Returns a type that accepts every value that one of the fields accepts."""
    if all(get_origin(info.annotation) is Literal for info in infos):
        return Literal[tuple(value for info in infos for value in get_args(info.annotation))]
    return functools.reduce(operator.or_, map(_patched, infos))


def _common_base(models: Sequence[type[BaseModel]]) -> type[BaseModel]:
    """Returns the nearest common base class of all models, after which the patch is named."""
    return next(base for base in models[0].__mro__ if all(issubclass(model, base) for model in models))


def _model(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    return create_model(
        f"{name}Patch",
        __base__=Model,
        __doc__=f"A merge patch (RFC 7396) of {name}: absent members do not change, and null sets the default.",
        **fields,
    )


def _patched(info: FieldInfo) -> Any:
    annotation: Any = info.annotation
    nested = _nested(annotation)
    if nested:
        return patch_model(nested[0]) if len(nested) == 1 else _patch_of_kinds(nested)
    constraints = [*info.metadata]
    extra = info.json_schema_extra
    if isinstance(extra, dict):
        constraints.append(Field(json_schema_extra=extra))
    return Annotated[(annotation, *constraints)] if constraints else annotation


def _nested(annotation: Any) -> Sequence[type[BaseModel]]:
    """Returns the models in an annotation that is a model, or a union of models and perhaps None. The result is empty
    for any other annotation.
    """
    if get_origin(annotation) is Annotated:
        return _nested(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [_nested(member) for member in get_args(annotation) if member is not type(None)]
        return [model for member in members for model in member] if all(members) else ()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return ()
