"""Refuses query parameters that an operation does not have. So a request with the misspelled `?dryrun=true` changes
nothing. It also refuses parameters that are given twice, unless they are lists.
"""

from __future__ import annotations

from collections import Counter
from typing import get_args, get_origin

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel

from services.config_api.problems import FieldError, invalid, pointer


def refuse_unknown_query(request: Request) -> None:
    """Raises Problem 422 for parameters that the operation does not have, and for repeated ones that are not lists."""
    if not request.url.query:
        return
    route = request.scope["route"]
    assert isinstance(route, APIRoute)  # noqa: S101 - every operation is one
    counts = Counter(name for name, _ in request.query_params.multi_items())
    known_names, lists = _names(route)
    errors = [
        FieldError(pointer([name]), "unknown_member", "There is no such parameter.", "query")
        for name in sorted(counts.keys() - known_names)
    ] + [
        FieldError(pointer([name]), "twice", "This is given more than once.", "query")
        for name in sorted(known_names - lists)
        if counts[name] > 1
    ]
    if errors:
        raise invalid(errors)


def _names(route: APIRoute) -> tuple[frozenset[str], frozenset[str]]:
    """Returns the names of all parameters of the route, and the names of the parameters that are lists."""
    names: set[str] = set()
    lists: set[str] = set()
    for parameter in route.dependant.query_params:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            names |= {info.alias or name for name, info in model.model_fields.items()}
            lists |= {info.alias or name for name, info in model.model_fields.items() if _is_list(info.annotation)}
        else:
            names.add(parameter.alias)
    return frozenset(names), frozenset(lists)


def _is_list(annotation: object) -> bool:
    return get_origin(annotation) is list or any(get_origin(arg) is list for arg in get_args(annotation))
