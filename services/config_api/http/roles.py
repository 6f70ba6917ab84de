"""Finds the route and the role of a request from its method and path alone, so that the role is checked before the body
is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send


class RoleTable:
    """The routes of the API, each with the role that its dependencies require."""

    def __init__(self, routes: Iterable[object]) -> None:
        self.roles = [(route, _role(route)) for route in routes if isinstance(route, APIRoute)]
        self._by_place: dict[tuple[str, str], list[tuple[APIRoute, str]]] = defaultdict(list)
        for route, role in self.roles:
            for method in route.methods or ():
                self._by_place[method, _noun(route.path)].append((route, role))

    def find(self, scope: MutableMapping[str, Any]) -> tuple[APIRoute, str] | None:
        """Returns the route and the role of a request, or None when no route matches."""
        for route, role in self._by_place.get((scope["method"], _noun(scope["path"])), ()):
            if route.path_regex.match(scope["path"]):
                return route, role
        return None


class FoundRoute(BaseRoute):
    """Passes a request on to the route that the middleware has found, so that no second search is needed."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        route: APIRoute | None = scope.get("route")
        return (Match.NONE, {}) if route is None else route.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["route"].handle(scope, receive, send)


def _noun(path: str) -> str:
    """Returns the first part of a path after /v1: `accounts` for `/v1/accounts/{id}` and for `/v1/accounts:batch`."""
    return path.removeprefix("/v1/").partition("/")[0].partition(":")[0]


def _role(route: APIRoute) -> str:
    """Returns the role that a route requires. Raises ValueError for a route that requires no role."""
    for dependency in _dependencies(route.dependant):
        role = getattr(dependency.call, "required_role", None)
        if isinstance(role, str):
            return role
    raise ValueError(f"{route.operation_id} requires no role")


def _dependencies(dependant: Dependant) -> Iterator[Dependant]:
    for dependency in dependant.dependencies:
        yield dependency
        yield from _dependencies(dependency)
