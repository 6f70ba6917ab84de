"""The service is compared with its OpenAPI document by generated requests."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from services.config_api.app import describe_app
from services.config_api.http import openapi
from services.config_api.resources.catalogue import RESOURCES
from tests.config_api.peers import peers
from tests.config_api.service import ADMIN_KEY, Service, running

ROOT = Path(__file__).parents[3]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document(describe_app())


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, found) for path, methods in document["paths"].items() for method, found in methods.items()]


def test_the_committed_document_is_current(document: dict[str, Any]) -> None:
    assert json.loads((ROOT / "openapi.json").read_text()) == json.loads(json.dumps(document))


def test_names_of_operations_suit_client_generators(document: dict[str, Any]) -> None:
    names = [found["operationId"] for _, _, found in _operations(document)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]*)+", name) for name in names)
    tags = {tag["name"] for tag in document["tags"]}
    assert document["security"] == [{"key": []}]
    for name, response in document["components"]["responses"].items():
        assert name == "NotModified" or list(response["content"]) == ["application/problem+json"]
    for path, method, found in _operations(document):
        assert set(found["tags"]) <= tags, (path, method)
        assert found["summary"]
        assert {"422", "4XX", "5XX"} <= found["responses"].keys()
        for parameter in found.get("parameters", ()):
            if "$ref" in parameter:
                parameter = document["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
            assert parameter.get("description"), (path, parameter["name"])
            schema = parameter["schema"]
            assert schema.get("type") != "integer" or {"minimum", "maximum"} <= schema.keys(), (path, parameter["name"])
            assert not {"ge", "gt", "le", "lt"} & schema.keys(), (path, parameter["name"])


@pytest.mark.parametrize(("body", "media_type"), [(b"x", "text/plain"), (b"{", "application/json")])
async def test_errors_of_bodies_are_documented_at_each_operation(
    on_sqlite: Service, document: dict[str, Any], body: bytes, media_type: str
) -> None:
    """The refusals of a body are documented even for operations that need no body."""
    shared = document["components"]["responses"]
    of_any_request = shared["ClientError"]["description"] + shared["ServerError"]["description"]
    for path, method, found in _operations(document):
        asked = path.replace("{number}", "1").replace("{client}", "192.0.2.1")
        asked = re.sub(r"\{[a-z]+\}", "none", asked)
        for content in (body, b" " * 1_100_000 + body):
            answer = await on_sqlite.api.request(method, asked, content=content, headers={"Content-Type": media_type})
            status = str(answer.status_code)
            assert status in found["responses"] or status in of_any_request, (method, path, status)


def test_every_setting_is_described(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name
        for field, found in schema.get("properties", {}).items():
            assert found.get("description") or "$ref" in found, (name, field)


def test_settings_have_a_default_or_an_example_and_numbers_have_bounds(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    taken = [model for resource in RESOURCES.values() for model in _models(resource.model.__name__, schemas)]
    assert len(taken) > 30
    for name in taken:
        for field, found in _writable(schemas[name]).items():
            text = json.dumps(found)
            known = any(f'"{key}"' in text for key in ("default", "examples", "enum", "const", "$ref", "writeOnly"))
            assert known, (name, field)
            if '"integer"' in text or '"number"' in text:
                assert re.search(r'"(exclusiveM|m)inimum"', text), (name, field)
                assert re.search(r'"(exclusiveM|m)aximum"', text), (name, field)
            if '"string"' in text and '"enum"' not in text and '"const"' not in text and "date-time" not in text:
                assert '"maxLength"' in text, (name, field)


def _writable(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in schema.get("properties", {}).items() if not member.get("readOnly")}


def _models(name: str, schemas: dict[str, Any]) -> list[str]:
    """Returns the names of a schema and of the schemas in it."""
    members = _writable(schemas[name]) or schemas[name]
    inner = re.findall(r'"#/components/schemas/([A-Za-z]+)"', json.dumps(members))
    return [name, *(found for other in inner for found in _models(other, schemas))]


def test_passwords_are_write_only_and_have_no_example(document: dict[str, Any]) -> None:
    found = 0
    for schema in document["components"]["schemas"].values():
        password = schema.get("properties", {}).get("password")
        if password is not None:
            found += 1
            assert "writeOnly" in json.dumps(password)
            assert not re.search(r'"examples?"', json.dumps(password))
    assert found >= 4


@pytest.mark.timeout(400)
async def test_generated_requests_find_no_fault(begun_url: str, begun: Path, resolver: str) -> None:
    """schemathesis runs all of its checks with examples, random requests, and sequences that follow links.

    Requests of a wrong shape are refused before they reach the database, so random requests are sent only with SQLite.
    """
    phases = "examples,fuzzing,stateful" if begun_url.startswith("sqlite") else "examples,stateful"
    async with (
        peers() as (_, _, targets),
        running(begun_url, begun, nameservers=resolver, failed_keys_per_minute=100_000, **targets) as service,
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"),
            # The committed document is used. On a busy machine the service takes longer to generate it than
            # schemathesis waits.
            *(str(ROOT / "openapi.json"), "--url", f"http://127.0.0.1:{service.http_port}"),
            *("--header", f"Authorization: Bearer {ADMIN_KEY}"),
            *("--phases", phases, "--max-examples", "1", "--no-color"),
            *("--request-timeout", "60"),
            # The event stream does not end, so schemathesis would wait for ever.
            *("--exclude-operation-id", "streamEvents"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=begun,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()[-8000:]
