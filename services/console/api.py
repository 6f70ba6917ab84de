"""The public API for the pages: calls are made with the user's key and for the user's address."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
from posthouse_client.errors import refusal

# The longest wait for an answer.
_SECONDS = 30.0
# A stream of events has a comment at intervals, so a longer silence means that the connection is lost.
_SILENCE_SECONDS = 60.0


class Api:
    """The calls of one user. Raises ProblemError for a refusal, and httpx.TransportError when no answer arrives."""

    def __init__(self, client: httpx.AsyncClient, key: str, forwarded_for: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": forwarded_for}

    async def get(self, path: str, **query: Any) -> Any:
        """Returns the JSON of an answer to GET. Arguments that are None or empty are left out of the query."""
        return (await self.call("GET", path, query=query)).json()

    async def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """Returns the JSON of an answer, or None when it has no content."""
        answer = await self.call("POST", path, body=body, query=query)
        return answer.json() if answer.content else None

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Makes any request, for pages that need the header of the answer (ETag)."""
        answer = await self._client.request(
            method, path, params=_given(query or {}), json=body, headers={**self._headers, **(headers or {})}
        )
        if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
            return answer
        raise refusal(answer)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Makes a request whose answer is read while it arrives."""
        async with self._client.stream(
            method,
            path,
            json=body,
            headers={**self._headers, **(headers or {})},
            timeout=httpx.Timeout(_SECONDS, read=_SILENCE_SECONDS),
        ) as answer:
            if not answer.is_success:
                await answer.aread()
                raise refusal(answer)
            yield answer


def api_client(url: str, ca_file: Path | None) -> httpx.AsyncClient:
    """Makes the client of the API, whose connections all users share."""
    verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
    return httpx.AsyncClient(
        base_url=url,
        timeout=_SECONDS,
        verify=verify,
        headers={"User-Agent": "posthouse_console"},
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
    )


def _given(query: Mapping[str, Any]) -> httpx.QueryParams:
    """Returns the arguments that have a value. An argument with several values is repeated."""
    pairs: list[tuple[str, str | int | float | bool | None]] = []
    for name, value in query.items():
        values: Iterable[Any] = value if isinstance(value, (list, tuple)) else (value,)
        pairs += [(name, _text(each)) for each in values if each is not None and each != ""]
    return httpx.QueryParams(pairs)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
