"""The pages that need no API key: `/`, the OpenAPI document, and a page that shows it without the Internet."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from pathlib import Path

import pytest

from tests.config_api.service import Service

BROWSER_SECONDS = 120


async def test_the_root_shows_the_addresses_of_the_api_and_the_console(on_sqlite: Service) -> None:
    places = await on_sqlite.get("/")
    assert places["name"] == "Posthouse"
    for place in ("openapi", "documentation", "liveness", "readiness", "metrics", "status"):
        answer = await on_sqlite.api.get(places[place])
        assert answer.status_code == 200, place
    assert (await on_sqlite.api.post("/", json={})).status_code == 405


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"])
async def test_documents_are_compressed_and_have_an_etag(on_sqlite: Service, path: str) -> None:
    plain = await on_sqlite.api.get(path, headers={"Accept-Encoding": "identity"})
    assert plain.status_code == 200
    assert "content-encoding" not in plain.headers
    async with on_sqlite.api.stream("GET", path, headers={"Accept-Encoding": "br, gzip;q=0.5"}) as coded:
        raw = b"".join([chunk async for chunk in coded.aiter_raw()])
    assert coded.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 1.5
    # A strong ETag identifies one content coding (RFC 9110 section 8.8.3.3).
    assert coded.headers["etag"] != plain.headers["etag"]
    for answer in (plain, coded):
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["cache-control"] == "no-cache"
        for tag in (answer.headers["etag"], f"W/{answer.headers['etag']}", f'"other", {answer.headers["etag"]}', "*"):
            known = await on_sqlite.api.get(path, headers={"If-None-Match": tag})
            assert (known.status_code, known.content) == (304, b""), tag
    assert (await on_sqlite.api.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    refusing = await on_sqlite.api.get(path, headers={"Accept-Encoding": "gzip;q=0, *;q=0"})
    assert "content-encoding" not in refusing.headers


async def test_the_served_document_is_the_committed_one(on_sqlite: Service) -> None:
    served = await on_sqlite.get("/openapi.json")
    assert served == json.loads((Path(__file__).parents[3] / "openapi.json").read_text())


async def test_the_page_has_no_inline_script_and_a_strict_policy(on_sqlite: Service) -> None:
    page = await on_sqlite.api.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert re.findall(r"<script(?![^>]* src=)", page.text) == []
    links = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(links) == 4
    for link in links:
        assert link.startswith("/docs/")
        assert (await on_sqlite.api.get(link)).status_code == 200
    assert (await on_sqlite.api.get("/docs/nothing")).status_code == 404
    assert (await on_sqlite.api.get("/docs/%2e%2e/main.py")).status_code == 404


@pytest.mark.timeout(300)
async def test_chromium_shows_the_page_without_a_network(on_sqlite: Service, tmp_path: Path) -> None:
    """Chromium can resolve no name, and the page is on loopback."""
    process = await asyncio.create_subprocess_exec(
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--no-first-run", "--enable-logging=stderr"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        # The page renders only the operations that fit into the window, so the window is high.
        "--window-size=1400,30000",
        *("--virtual-time-budget=30000", "--dump-dom", f"http://127.0.0.1:{on_sqlite.http_port}/docs"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(BROWSER_SECONDS):
        output, errors = await process.communicate()
    page, console = output.decode(), [line for line in errors.decode().splitlines() if "CONSOLE" in line]
    assert process.returncode == 0, errors.decode()[-4000:]
    # Every operation is listed under its tag. Only a Swagger UI that reads OpenAPI 3.1 does this.
    document = await on_sqlite.get("/openapi.json")
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert page.count('class="opblock ') == len(operations), console
    assert all(operation["summary"].split(",")[0].split("'")[0] in page for operation in operations)
    assert "OAS 3.1" in page
    # No script, style sheet, picture or request failed.
    assert console == []
