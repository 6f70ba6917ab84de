"""Sign-in with an API key, and sign-out."""

from __future__ import annotations

from typing import Annotated

import httpx
from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response
from posthouse_client import ProblemError

from services.console import session as sessions
from services.console.page import Page, open_page

router = APIRouter()
AnyPage = Annotated[Page, Depends(open_page)]


@router.get("/sign-in")
async def show(page: AnyPage) -> Response:
    return _form(page, "")


@router.post("/sign-in")
async def sign_in(page: AnyPage) -> Response:
    key = page.form.get("key")
    if not key.isascii() or not key.isprintable() or not key:
        return _form(page, "The API does not know this key.", 401)
    try:
        await page.with_key(key).get("/v1/whoami")
    except ProblemError as problem:
        if problem.status == httpx.codes.UNAUTHORIZED:
            return _form(page, "The API does not know this key.", 401)
        if problem.status == httpx.codes.FORBIDDEN:
            return _form(page, "A key of the role sender may see no page. Use one of the role reader or more.", 403)
        if problem.status == httpx.codes.TOO_MANY_REQUESTS:
            return _form(page, "Too many wrong keys came from your address. Try again in a minute.", 429)
        raise
    answer = RedirectResponse("/", 303)
    page.begin_session(answer, key)
    return answer


@router.post("/sign-out")
async def sign_out(page: AnyPage) -> Response:
    answer = page.redirect("/sign-in")
    page.drop_cookie(answer, sessions.COOKIE)
    return answer


def _form(page: Page, trouble: str, status: int = 200) -> Response:
    answer = page.show("sign_in.html", status, trouble=trouble)
    # The form needs a session for its token, even before sign-in.
    page.keep(answer, page.session)
    return answer
