"""The scripted web server gives its scripted answers to a real client, over TLS too."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest
import trustme

from tests.peers.web import WebServer


async def test_answers_are_scripted_and_requests_kept() -> None:
    with WebServer() as web:
        web.answer("/hook?x=1", b"taken", status=202, headers={"X-Kind": "test"})
        web.answer("/moved", status=301, headers={"Location": "/elsewhere"}, times=1)
        async with httpx.AsyncClient(base_url=web.url) as client:
            taken = await client.post("/hook?x=1", content=b"payload")
            assert (taken.status_code, taken.content, taken.headers["x-kind"]) == (202, b"taken", "test")
            assert [(await client.get("/moved")).status_code for _ in range(2)] == [301, 404]
    first, *_ = await web.requests_came(3)
    assert (first.method, first.target, first.body) == ("POST", "/hook?x=1", b"payload")
    assert first.host == f"{web.host}:{web.port}"


async def test_an_answer_waits_for_its_gate_over_tls(certificates: trustme.CA) -> None:
    context = ssl.create_default_context()
    certificates.configure_trust(context)
    with WebServer(certificates.issue_cert("127.0.0.1")) as web:
        gate = web.hold("/slow", b"at last")
        async with httpx.AsyncClient(base_url=web.url, verify=context) as client:
            asking = asyncio.create_task(client.get("/slow"))
            await gate.reached()
            assert not asking.done()
            gate.open()
            assert (await asking).content == b"at last"
        async with httpx.AsyncClient(base_url=web.url) as stranger:
            with pytest.raises(httpx.ConnectError):
                await stranger.get("/slow")


async def test_an_endless_body_ends_with_its_client() -> None:
    with WebServer() as web:
        web.endless("/huge")
        seen = 0
        async with httpx.AsyncClient(base_url=web.url) as client, client.stream("GET", "/huge") as body:
            async for piece in body.aiter_bytes():
                seen += len(piece)
                if seen > 1_000_000:
                    break
        web.stop()
        async with httpx.AsyncClient(base_url=web.url) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/")
