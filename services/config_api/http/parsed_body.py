"""A kind of route whose endpoints use the JSON that the middleware has already parsed. The middleware parses long JSON
in a thread, to keep the event loop free.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from services.config_api.http.query_parameters import refuse_unknown_query
from services.config_api.problems import malformed

# The key under which the middleware stores the parsed JSON in the scope.
PARSED_JSON = "posthouse.json"


class ParsedRequest(Request):
    """A request that does not parse its JSON a second time."""

    async def json(self) -> Any:
        """Returns the value that the middleware has parsed. Raises Problem 400 when the request had no JSON."""
        if PARSED_JSON not in self.scope:
            raise malformed("The body is not JSON.")
        return self.scope[PARSED_JSON]


class Route(APIRoute):
    """A route that gets its body from the middleware, and refuses unknown query parameters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_parsed(request: Request) -> Response:
            refuse_unknown_query(request)
            return await handle(ParsedRequest(request.scope, request.receive))

        return handle_parsed
