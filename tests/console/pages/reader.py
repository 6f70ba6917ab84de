"""A reader of the console's pages whose browser runs no scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from tests.config_api.service import Service
from tests.console.html_forms import HtmlPage


@dataclass
class Reader:
    """A browser that runs no scripts."""

    http: httpx.AsyncClient

    async def page(self, path: str, status: int = 200) -> HtmlPage:
        answer = await self.http.get(path)
        assert answer.status_code == status, answer.text
        return HtmlPage.of(answer.text)

    async def post(self, path: str, texts: dict[str, list[str]], status: int = 200) -> HtmlPage:
        """Sends a form and returns the page to which the answer leads."""
        answer = await self.http.post(path, data=texts)
        if answer.status_code == 303:
            answer = await self.http.get(answer.headers["location"])
        assert answer.status_code == status, answer.text
        return HtmlPage.of(answer.text)

    async def sign_in(self, key: str) -> None:
        self.http.cookies.clear()
        page = await self.page("/sign-in")
        answer = await self.http.post("/sign-in", data=page.form().filled(key=key))
        assert answer.status_code == 303, answer.text


async def key_of_role(service: Service, role: str) -> str:
    """Creates an API key with this role and returns it."""
    made: dict[str, Any] = await service.make("api-keys", {"name": f"a {role}", "role": role})
    return str(made["key"])
