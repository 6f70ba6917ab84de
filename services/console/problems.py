"""The pages for errors."""

from __future__ import annotations

import httpx
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from posthouse_client import ProblemError
from starlette.exceptions import HTTPException

from services.console import session as sessions
from services.console.page import (
    Dependencies,
    ForgedFormError,
    FormTooLargeError,
    NotAllowedError,
    Page,
    SignedOutError,
)

log = structlog.get_logger(__name__)


def add_problem_pages(app: FastAPI) -> None:
    for kind, handler in (
        (SignedOutError, _signed_out),
        (NotAllowedError, _not_allowed),
        (ForgedFormError, _forged),
        (FormTooLargeError, _too_large),
        (ProblemError, _refused),
        (httpx.TransportError, _unreachable),
        (RequestValidationError, _no_such_page),
        (HTTPException, _http),
        (Exception, _fault),
    ):
        app.add_exception_handler(kind, handler)


async def _signed_out(request: Request, _: Exception) -> Response:
    answer = RedirectResponse("/sign-in", 303)
    _page(request).drop_cookie(answer, sessions.COOKIE)
    return answer


async def _not_allowed(request: Request, _: Exception) -> Response:
    return _page(request).show(
        "problem.html", 403, title="Your key may not do this", text="Sign in with a key of a higher role."
    )


async def _forged(request: Request, _: Exception) -> Response:
    return _page(request).show(
        "problem.html",
        403,
        title="This form can't be used any more",
        text="It belongs to a session that has ended. Nothing was changed. Open the page again.",
    )


async def _too_large(request: Request, _: Exception) -> Response:
    return _page(request).show(
        "problem.html", 413, title="The form is too large", text="Nothing was changed. Send less at once."
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for it
    if error.status == httpx.codes.UNAUTHORIZED:
        return await _signed_out(request, error)
    return _page(request).show(
        "problem.html",
        error.status if error.status >= 400 else 502,
        title=error.title,
        text=error.detail,
        errors=error.errors,
        request_id=error.request_id,
    )


async def _unreachable(request: Request, error: Exception) -> Response:
    log.warning("api_unreachable", reason=type(error).__name__)
    return _page(request).show(
        "problem.html",
        503,
        title="The API can't be reached",
        text="config_api does not answer. Mail is received and delivered without it. Try again in a moment.",
    )


async def _no_such_page(request: Request, _: Exception) -> Response:
    return _page(request).show("problem.html", 404, title="There is no such page", text="")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    if error.status_code == 404:
        return await _no_such_page(request, error)
    return _page(request).show("problem.html", error.status_code, title=error.detail, text="")


async def _fault(request: Request, _: Exception) -> Response:
    """Shows the page for a fault of the console. The server logs the error."""
    return _page(request).show(
        "problem.html", 500, title="The console failed to make this page", text="The log of the console has the reason."
    )


def _page(request: Request) -> Page:
    """Returns the page of the request, or one without a session when there is none."""
    page: Page | None = getattr(request.state, "page", None)
    if page is None:
        dependencies: Dependencies = request.app.state.dependencies
        page = Page.without_session(request, dependencies)
    return page
