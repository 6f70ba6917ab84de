"""The argument of each page's function: the user, the form that was sent, the API, and the ways to answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import httpx
from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from posthouse_client import ProblemError

from services.console import session as sessions
from services.console.api import Api
from services.console.documents import ApiDocuments
from services.console.forms.document import ApiDocument
from services.console.navigation import Entry, may, offered
from services.console.rendering import render
from services.console.session import Session, Sessions

_MOST_OCTETS_OF_A_FORM = 2_000_000
_MOST_FIELDS_OF_A_FORM = 5_000


class SignedOutError(Exception):
    """Nobody is signed in, or the session has ended."""


class NotAllowedError(Exception):
    """The role of the key is not enough for this page."""


class ForgedFormError(Exception):
    """A form without the token of its session."""


class FormTooLargeError(Exception):
    """A form with more octets or fields than any page sends."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The objects that all requests share."""

    sessions: Sessions
    client: httpx.AsyncClient
    entries: Sequence[Entry]
    # Whether cookies are sent over TLS only.
    secure: bool
    documents: ApiDocuments = field(default_factory=ApiDocuments)


class Form:
    """The fields of a form, in their order. A name may occur several times."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self.fields = fields

    def get(self, name: str, default: str = "") -> str:
        """Returns the first value, without the blanks around it."""
        return next((value.strip() for key, value in self.fields if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.fields)


class Page:
    """One request of a browser."""

    def __init__(self, request: Request, dependencies: Dependencies, session: Session, form: Form) -> None:
        self.request = request
        self.form = form
        self.session = session
        # The id, the name and the role of the key. It is empty before sign-in.
        self.caller: dict[str, Any] = {}
        self._dependencies = dependencies
        self.api = Api(dependencies.client, session.key, forwarded_for(request))

    @classmethod
    def without_session(cls, request: Request, dependencies: Dependencies) -> Page:
        """Returns a page without a session, for errors before the session is known."""
        return cls(request, dependencies, dependencies.sessions.begin(), Form(()))

    def with_key(self, key: str) -> Api:
        """Returns the API with another key than that of the session."""
        return Api(self._dependencies.client, key, forwarded_for(self.request))

    async def document(self) -> ApiDocument:
        """Returns the OpenAPI document, from which forms and lists are made."""
        return await self._dependencies.documents.current(self.api)

    @property
    def role(self) -> str:
        return str(self.caller.get("role", ""))

    def is_at(self, path: str) -> bool:
        """Returns whether this entry of the navigation is the closest one above this page."""
        own = self.request.url.path
        above = [
            entry.path
            for entry in self._dependencies.entries
            if own == entry.path or (entry.path != "/" and own.startswith(f"{entry.path}/"))
        ]
        return path == max(above, key=len, default="")

    def may(self, needed: str) -> bool:
        """Returns whether the user may do things that need the role `needed`."""
        return may(self.role, needed)

    def show(self, template: str, status_code: int = 200, /, **values: Any) -> HTMLResponse:
        """Returns a page from a template, which gets `values` and the names page, may, token, notice and entries."""
        notice = self._dependencies.sessions.open_notice(self.request.cookies.get(sessions.NOTICE_COOKIE, ""))
        answer = HTMLResponse(
            render(
                template,
                offered(self._dependencies.entries, self.role),
                page=self,
                may=self.may,
                token=self.session.token,
                notice=notice,
                **values,
            ),
            status_code,
        )
        if notice:
            self.drop_cookie(answer, sessions.NOTICE_COOKIE)
        return answer

    def redirect(self, path: str, notice: str = "") -> Response:
        """Redirects to another page after a form. That page shows `notice`."""
        answer = RedirectResponse(path, 303)
        if notice:
            cookie = self._dependencies.sessions.seal_notice(notice[:1000])
            self.set_cookie(answer, sessions.NOTICE_COOKIE, cookie, sessions.NOTICE_SECONDS)
        return answer

    def begin_session(self, answer: Response, key: str = "") -> Session:
        """Adds the cookie of a new session to an answer."""
        session = self._dependencies.sessions.begin(key)
        self.keep(answer, session)
        return session

    def keep(self, answer: Response, session: Session) -> None:
        """Adds the cookie of a session to an answer."""
        sealed = self._dependencies.sessions.seal(session)
        self.set_cookie(answer, sessions.COOKIE, sealed, sessions.LONGEST_SECONDS)

    def drop_cookie(self, answer: Response, name: str) -> None:
        """Makes the browser delete a cookie."""
        answer.delete_cookie(name, httponly=True, samesite="strict", secure=self._dependencies.secure)

    def set_cookie(self, answer: Response, name: str, value: str, seconds: int) -> None:
        answer.set_cookie(
            name, value, max_age=seconds, httponly=True, samesite="strict", secure=self._dependencies.secure
        )


def forwarded_for(request: Request) -> str:
    """Returns X-Forwarded-For for the API: the value of the request, and then the address from which the request came.
    The API uses the right-most address that is not one of its proxies, so a value from the browser has no effect.
    """
    peer = request.client.host if request.client else "unknown"
    return ", ".join((*request.headers.getlist("x-forwarded-for"), peer))


async def open_page(request: Request) -> Page:
    """Opens a page without sign-in. Each form needs the token of the session. Raises ForgedFormError without it."""
    dependencies: Dependencies = request.app.state.dependencies
    session = dependencies.sessions.open(request.cookies.get(sessions.COOKIE, ""))
    form = Form(())
    if request.method not in ("GET", "HEAD"):
        form = await _read_form(request)
        if session is None or not session.allows(form.get("token")):
            raise ForgedFormError
    page = Page(request, dependencies, session or dependencies.sessions.begin(), form)
    request.state.page = page
    return page


def needs(role: str) -> Callable[[Request], Awaitable[Page]]:
    """Makes the dependency of a page for users with at least this role. The API is asked whether the key is still
    valid. The dependency raises SignedOutError, NotAllowedError, and the errors of `open_page` and the API.
    """

    async def signed_in(request: Request) -> Page:
        page = await open_page(request)
        if not page.session.key:
            raise SignedOutError
        try:
            page.caller = await page.api.get("/v1/whoami")
        except ProblemError as problem:
            if problem.status == httpx.codes.UNAUTHORIZED:
                raise SignedOutError from None
            raise
        if not page.may(role):
            raise NotAllowedError
        return page

    signed_in.needed_role = role  # type: ignore[attr-defined]
    return signed_in


async def _read_form(request: Request) -> Form:
    """Reads the form in the body of a request. Raises FormTooLargeError."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > _MOST_OCTETS_OF_A_FORM:
            raise FormTooLargeError
    try:
        text = content.decode("utf-8", "replace")
        return Form(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS_OF_A_FORM))
    except ValueError:
        raise FormTooLargeError from None
