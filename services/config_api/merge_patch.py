"""JSON Merge Patch (RFC 7396), and the schema of a patch: as the whole, but all may be absent or null."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from services.config_api.fields import Model


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396 section 2: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def patch_model(model: type[BaseModel]) -> type[BaseModel]:
    """The schema of a merge patch of `model`. Only shapes and bounds: the merged whole is validated as a whole."""
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        patched = _patched(info)
        # What has no default can't return to it.
        shape = patched if info.is_required() else patched | None
        fields[name] = (shape, Field(default=None, description=info.description))
    return create_model(
        f"{model.__name__}Patch",
        __base__=Model,
        __doc__=f"A merge patch (RFC 7396) of {model.__name__}: what is absent stays, null returns to the default.",
        **fields,
    )


def _patched(info: FieldInfo) -> Any:
    annotation: Any = info.annotation
    nested = _nested(annotation)
    if nested is not None:
        return patch_model(nested)
    constraints = [*info.metadata]
    extra = info.json_schema_extra
    if isinstance(extra, dict):
        constraints.append(Field(json_schema_extra=extra))
    return Annotated[(annotation, *constraints)] if constraints else annotation


def _nested(annotation: Any) -> type[BaseModel] | None:
    """The one model that the annotation is, alone or beside null."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _nested(members[0]) if len(members) == 1 else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None
