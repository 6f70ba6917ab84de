"""Finds the role that a request needs from its method and path alone, so that it is checked before the body is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute


class RoleTable:
    """The routes of the API, each with the role that its dependencies require."""

    def __init__(self, routes: Iterable[object]) -> None:
        self.roles = [(route, _role(route)) for route in routes if isinstance(route, APIRoute)]

    def find(self, scope: Mapping[str, Any]) -> tuple[APIRoute, str] | None:
        """Returns the route and the role of a request, or None when no route matches."""
        for route, role in self.roles:
            if scope["method"] in (route.methods or ()) and route.path_regex.match(scope["path"]):
                return route, role
        return None


def _role(route: APIRoute) -> str:
    """Returns the role of a route. Raises ValueError for a route without one."""
    for dependency in _dependencies(route.dependant):
        role = getattr(dependency.call, "required_role", None)
        if isinstance(role, str):
            return role
    raise ValueError(f"{route.operation_id} requires no role")


def _dependencies(dependant: Dependant) -> Iterator[Dependant]:
    for dependency in dependant.dependencies:
        yield dependency
        yield from _dependencies(dependency)
