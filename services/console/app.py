"""The console as an ASGI application."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from services.console.page import Dependencies
from services.console.pages import (
    audit_log,
    blocked_clients,
    changes,
    configuration,
    live,
    messages,
    overview,
    queue,
    queue_many,
    redirects,
    refused,
    rules,
    sign_in,
    trials,
)
from services.console.problems import add_problem_pages
from services.console.protection import Protection

# The order of the navigation. Each module has `router`, and `ENTRIES` for the navigation.
PAGES = (
    overview,
    redirects,
    messages,
    refused,
    queue,
    queue_many,
    live,
    blocked_clients,
    trials,
    rules,
    configuration,
    changes,
    audit_log,
)
ENTRIES = tuple(entry for module in PAGES for entry in module.ENTRIES)


def create_app(dependencies: Dependencies, hosts: frozenset[str]) -> ASGIApp:
    """Makes the whole console, inside its protection."""
    app = FastAPI(title="Posthouse console", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.dependencies = dependencies
    app.mount("/static", _Static(directory=Path(__file__).parent / "static"))
    for module in (sign_in, *PAGES):
        app.include_router(module.router)
    add_problem_pages(app)

    @app.get("/healthz")
    async def healthz(_: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    return Protection(app, hosts, secure=dependencies.secure)


class _Static(StaticFiles):
    """Serves the static files. The address of a file changes with its content, so a browser may store the file."""

    def file_response(self, *arguments: object, **named: object) -> Response:
        answer = super().file_response(*arguments, **named)  # type: ignore[arg-type]
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer
