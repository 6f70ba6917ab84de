"""The OpenAPI document as generators of clients need it: small, with shared, named and described schemas."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic_core.core_schema import ErrorType

from services.config_api import error_codes
from services.config_api.app import describe_app
from services.config_api.http import openapi, openapi_schemas
from services.config_api.http.roles import RoleTable
from services.config_api.resources.catalogue import COLLECTIONS, RESOURCES, SINGLETONS
from tests.config_api.service import Service

ROOT = Path(__file__).parents[3]
OCTETS_AN_OPERATION = 2500
OCTETS_REPEATED = 300


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(json.dumps(openapi.document(describe_app())))  # type: ignore[no-any-return]


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def _schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Yields every schema in a part of the document, including schemas of components and schemas written in place."""
    if isinstance(node, dict):
        if {"type", "$ref", "anyOf", "oneOf", "allOf", "enum"} & node.keys() and "in" not in node:
            yield node
        for key, inner in node.items():
            if key in ("example", "examples"):
                continue
            # Members of an object may have the names of JSON Schema keywords.
            for part in inner.values() if key == "properties" else [inner]:
                yield from _schemas(part)
    elif isinstance(node, list):
        for part in node:
            yield from _schemas(part)


def _resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


# Size


def test_an_operation_needs_at_most_2500_octets_on_average(document: dict[str, Any]) -> None:
    octets = len(openapi.compact(document).encode())
    assert octets / len(list(_operations(document))) <= OCTETS_AN_OPERATION


def test_every_change_of_the_configuration_may_ask_not_to_wait_until_it_is_in_force(document: dict[str, Any]) -> None:
    prefer = {"$ref": "#/components/parameters/Prefer"}
    named = {
        operation["operationId"] for operation in _operations(document) if prefer in operation.get("parameters", ())
    }
    kinds = "|".join(resource.kind for resource in (*COLLECTIONS, *SINGLETONS))
    of_resources = {
        methods[method]["operationId"]
        for path, methods in document["paths"].items()
        if re.fullmatch(rf"/v1/({kinds})(/{{id}}|:batch)?", path)
        for method in methods.keys() - {"get"}
    }
    assert len(of_resources) > 50
    others = {"rotateApiKey", "rotateWebhookSecret", "rollBackRevision", "importConfiguration"}
    assert named == of_resources | others
    assert document["components"]["parameters"]["Prefer"]["in"] == "header"


def test_no_part_of_over_300_octets_is_repeated(document: dict[str, Any]) -> None:
    assert openapi.repeated(document, OCTETS_REPEATED) == []


def test_the_search_for_repeated_parts_finds_them() -> None:
    part = {"description": "x" * 290}
    assert openapi.repeated({"a": part, "b": [part]}, OCTETS_REPEATED) == [openapi.compact(part)]
    assert openapi.repeated({"a": part, "b": {"description": "x" * 280}}, OCTETS_REPEATED) == []


# Schemas


def test_each_resource_has_one_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for resource in RESOURCES.values():
        about = {name for name in schemas if name.startswith(resource.noun)}
        others = {noun for noun in (other.noun for other in RESOURCES.values()) if noun != resource.noun}
        about -= {
            name for name in about for other in others if name.startswith(other) and len(other) > len(resource.noun)
        }
        assert not {
            name for name in about if name.endswith(("Record", "Changed", "Created", "Item", "Input", "Output"))
        }
        marked = {name for name, member in schemas[resource.noun]["properties"].items() if member.get("readOnly")}
        assert marked == resource.read_only
        assert not marked & set(schemas[resource.noun].get("required", ()))


def test_schemas_have_no_titles(document: dict[str, Any]) -> None:
    assert [schema for schema in _schemas(document["components"]) if isinstance(schema.get("title"), str)] == []
    assert [schema for schema in _schemas(document["paths"]) if isinstance(schema.get("title"), str)] == []


def test_integers_that_may_pass_two_thousand_million_are_int64(document: dict[str, Any]) -> None:
    integers = [schema for schema in _schemas(document) if "integer" in str(schema.get("type"))]
    assert len(integers) > 50
    for schema in integers:
        bounds = [schema.get(bound) for bound in ("minimum", "maximum")]
        is_small = all(bound is not None and abs(bound) < 1 << 31 for bound in bounds)
        assert is_small or schema.get("format") == "int64", schema


def test_no_schema_has_a_default_beside_a_reference(document: dict[str, Any]) -> None:
    for schema in _schemas(document):
        if "default" in schema:
            assert not any("$ref" in part for part in (schema, *schema.get("anyOf", ()))), schema
            assert not isinstance(schema["default"], dict), schema


def test_enumerations_are_named_and_extensible_in_answers(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    named = [schema for schema in components.values() if "enum" in schema or "x-extensible-enum" in schema]
    assert len(named) > 20
    everywhere = [schema for schema in _schemas(document) if "enum" in schema or "x-extensible-enum" in schema]
    assert len(everywhere) == len(named)
    values = Counter(tuple(schema.get("enum") or schema["x-extensible-enum"]) for schema in named)
    assert [each for each, count in values.items() if count > 1] == []
    answered = _reachable(document, lambda operation: operation["responses"])
    sent = _reachable(document, lambda operation: [operation.get("requestBody"), operation.get("parameters")])
    for name, schema in components.items():
        if schema in named:
            assert ("x-extensible-enum" in schema) is (name in answered), name
            assert ("enum" in schema) is (name in sent), name


def _reachable(document: dict[str, Any], part: Any) -> set[str]:
    """Returns the names of the schemas that a part of each operation refers to, directly or through other schemas."""
    components = document["components"]
    found: set[str] = set()
    waiting = [part(operation) for operation in _operations(document)]
    seen: set[str] = set()
    while waiting:
        for kind, name in re.findall(r'"#/components/([a-z]+)/([A-Za-z0-9_-]+)"', json.dumps(waiting.pop())):
            if f"{kind}/{name}" not in seen:
                seen.add(f"{kind}/{name}")
                waiting.append(components[kind][name])
                if kind == "schemas":
                    found.add(name)
    return found


def test_unions_are_named_and_have_a_discriminator(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        if "oneOf" in schema:
            assert schema["discriminator"]["mapping"], name
            # A discriminator names only components, so nothing else can be a member, not even null.
            assert all(member.keys() == {"$ref"} for member in schema["oneOf"]), name
            beside_null = [{"$ref": f"#/components/schemas/{name}"}, {"type": "null"}]
            is_nullable = any(member.get("anyOf") == beside_null for member in _schemas(document))
            assert schema.get("x-nullable", False) is is_nullable, name
    for schema in _schemas(document):
        members = [member for member in schema.get("anyOf", ()) if member != {"type": "null"}]
        assert len([member for member in members if "$ref" in member]) <= 1, schema
        if "oneOf" in schema:
            assert schema in document["components"]["schemas"].values(), schema


def test_schemas_of_answers_are_open_and_those_of_requests_are_closed(document: dict[str, Any]) -> None:
    answered = _reachable(document, lambda operation: operation["responses"])
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema:
            is_closed = schema.get("additionalProperties") is False
            assert is_closed is (name not in answered), name


def test_names_do_not_collide_in_any_language(document: dict[str, Any]) -> None:
    """Generated Go has GetX, SetX and HasX for a member X, and NewX for a schema X.

    In generated Java and C#, a name in snake_case and the same name in camelCase collide.
    """
    schemas = document["components"]["schemas"]
    assert {f"New{name}" for name in schemas} & set(schemas) == set()
    assert [pair for pair in combinations(schemas, 2) if pair[0].lower() == pair[1].lower()] == []
    for name, schema in schemas.items():
        members = [member.replace("_", "").lower() for member in schema.get("properties", ())]
        assert len(set(members)) == len(members), name
        accessors = {prefix + member for member in members for prefix in ("get", "set", "has", "is")}
        assert not accessors & set(members), name
        for member in schema.get("properties", ()):
            assert re.fullmatch(r"[a-z][a-z0-9_]*", member), (name, member)
    for operation in _operations(document):
        for parameter in operation.get("parameters", ()):
            found = _resolved(document, parameter)
            pattern = r"[a-z][a-z0-9_]*" if found["in"] in ("path", "query") else r"[A-Z][a-z]*(-[A-Z][a-z]*)*"
            assert re.fullmatch(pattern, found["name"]), found["name"]


def test_a_parameter_has_one_schema_wherever_it_has_one_name_and_meaning(document: dict[str, Any]) -> None:
    inline = Counter(
        json.dumps(parameter)
        for operation in _operations(document)
        for parameter in operation.get("parameters", ())
        if "$ref" not in parameter
    )
    assert [text for text, count in inline.items() if count > 1] == []


def test_every_component_is_used(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for kind, components in document["components"].items():
        for name in components if kind != "securitySchemes" else ():
            assert f'"#/components/{kind}/{name}"' in text, (kind, name)


# Operations


def test_each_operation_says_what_it_does_and_which_role_it_needs(document: dict[str, Any]) -> None:
    roles = {route.operation_id: role for route, role in RoleTable(describe_app().state.routes).roles}
    for operation in _operations(document):
        name = operation["operationId"]
        assert operation["x-required-role"] == roles[name]
        sentences, _, role = operation["description"].rpartition("\n\n")
        assert role == f"Role: {roles[name]}."
        assert re.fullmatch(r"[A-Z].{15,}\.", sentences, re.DOTALL), (name, sentences)
        assert operation["summary"], name


def test_each_operation_has_an_example_of_an_error(document: dict[str, Any]) -> None:
    types = {f"urn:posthouse:problem:{name}" for name in error_codes.PROBLEM_TYPES}
    for operation in _operations(document):
        examples = []
        for status, response in operation["responses"].items():
            if status >= "4":
                content = _resolved(document, response)["content"]["application/problem+json"]
                in_range = [named["value"] for named in content.get("examples", {}).values()]
                for example in in_range or [content["example"]]:
                    assert re.fullmatch(status.replace("X", "[0-9]"), str(example["status"])), operation["operationId"]
                example = (in_range or [content["example"]])[0]
                assert example["type"] in types
                assert {error["code"] for error in example.get("errors", ())} <= error_codes.FIELD_CODES.keys()
                examples.append(example)
        assert examples, operation["operationId"]


async def test_examples_of_missing_members_are_what_the_service_answers(
    on_sqlite: Service, document: dict[str, Any]
) -> None:
    provoked = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            invalid = operation["responses"]["422"]["$ref"].rpartition("/")[2]
            if not invalid.endswith("Missing"):
                continue
            example = _resolved(document, operation["responses"]["422"])["content"]["application/problem+json"]
            answer = await on_sqlite.api.request(
                method, re.sub(r"\{[a-z_]+\}", "0", path), json={}, headers={"If-Match": "*"}
            )
            assert answer.status_code == 422, (operation["operationId"], answer.text)
            [wanted] = example["example"]["errors"]
            errors = [error for error in answer.json()["errors"] if error["code"] == "missing"]
            assert wanted["pointer"] in {error["pointer"] or "/kind" for error in errors}, (
                operation["operationId"],
                errors,
            )
            provoked += 1
    assert provoked > 20


def test_every_header_has_a_description(document: dict[str, Any]) -> None:
    for header in document["components"]["headers"].values():
        assert re.search(r"\.$|\)\.$", header["description"])
        assert header["example"]
    for operation in _operations(document):
        for status, response in operation["responses"].items():
            headers = _resolved(document, response).get("headers", {})
            assert "X-Request-Id" in headers, (operation["operationId"], status)
            assert all(_resolved(document, header)["description"] for header in headers.values())


def test_each_verb_is_an_operation_of_its_own(document: dict[str, Any]) -> None:
    for path in document["paths"]:
        assert ":{" not in path, path
    names = {operation["operationId"] for operation in _operations(document)}
    for verb in ("retry", "hold", "release", "bounce", "delete"):
        assert {f"{verb}Message", f"{verb}Messages"} <= names


# Codes


def _codes_in_source() -> dict[str, set[str]]:
    """Returns the constant codes that config_api's source gives to problems, to errors of fields and to warnings."""
    places = {
        "Problem": ("problem", 1),
        "FieldError": ("field", 1),
        "fault": ("field", 0),
        "invalid_field": ("field", 1),
        "checked": ("field", 0),
        "Finding": ("warning", 1),
        "named": ("warning", 0),
    }
    found: dict[str, set[str]] = {"problem": set(), "field": set(), "warning": set()}
    for path in (ROOT / "services/config_api").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in places:
                continue
            kind, number = places[node.func.id]
            if len(node.args) > number and isinstance(code := node.args[number], ast.Constant):
                found[kind].add(str(code.value))
    return found


def test_the_catalogue_has_every_code_and_no_other() -> None:
    found = _codes_in_source()
    # These codes are given in another way: by the catalogue to errors of pydantic, or through a mapping.
    of_pydantic = {"not_one_of", "not_finite", "not_unicode", "too_large", "too_small", "wrong_characters", "not_valid"}
    assert found["problem"] == error_codes.PROBLEM_TYPES.keys()
    assert found["field"] | of_pydantic == error_codes.FIELD_CODES.keys()
    assert found["warning"] | {"no_mail_queued"} == error_codes.WARNING_CODES.keys()


def test_no_code_of_the_validation_library_is_public() -> None:
    types = get_args(ErrorType)
    assert len(types) > 80
    for name in types:
        assert error_codes.field_code(name) in error_codes.FIELD_CODES, name


def test_the_page_of_errors_is_the_catalogue() -> None:
    page = (ROOT / "docs/api-errors.md").read_text()
    for heading, codes in (
        ("Problem types", error_codes.PROBLEM_TYPES),
        ("Codes of fields", error_codes.FIELD_CODES),
        ("Codes of warnings", error_codes.WARNING_CODES),
    ):
        section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        rows = dict(re.findall(r"^\| `([a-z_-]+)` \| (.*) \|$", section, re.MULTILINE))
        assert rows == dict(codes), heading


# PUT accepts what GET answered


async def test_put_and_patch_accept_the_answer_of_get(on_sqlite: Service) -> None:
    for singleton in SINGLETONS:
        await _put_back(on_sqlite, f"/v1/{singleton.kind}")
    bodies: dict[str, dict[str, Any]] = {
        "webhooks": {"url": "https://hooks.example.com/x", "events": ["held"]},
        "relay-rules": {
            "name": "r",
            "type": "recipient",
            "target_type": "domain",
            "targets": ["a.example"],
            "relay_host": {"host": "smart.example"},
        },
        "trusted-networks": {"name": "n", "networks": ["192.0.2.0/24"]},
        "relay-domains": {"domain": "relayed.example"},
        "local-domains": {"name": "ours.example", "mailbox": {"kind": "maildir", "path": "/srv/mail"}},
        "accounts": {"login": "alice", "password": "a password"},
        "recipients": {"address": "c@ours.example"},
        "aliases": {"address": "a@ours.example", "targets": ["b@ours.example"]},
        "access-rules": {"list": "block", "criterion": "ip", "value": "192.0.2.7"},
        "dkim-keys": {"domain": "ours.example", "selector": "a", "algorithm": "ed25519-sha256"},
        "tls-policies": {"domain": "partner.example", "level": "verify"},
        "api-keys": {"name": "k", "role": "reader"},
    }
    assert bodies.keys() >= {collection.kind for collection in COLLECTIONS}
    for kind, body in bodies.items():
        made = await on_sqlite.make(kind, body)
        await _put_back(on_sqlite, f"/v1/{kind}/{made['id']}")
        # PUT accepts the complete answer of a write, including its warnings.
        copy = await on_sqlite.api.put(f"/v1/{kind}/{made['id']}", json=made, headers={"If-Match": "*"})
        assert copy.status_code == 200, (kind, copy.text)
    assert (await on_sqlite.get("/v1/accounts"))["items"][0]["password_set"] is True


async def _put_back(service: Service, path: str) -> None:
    answer = await service.api.get(path)
    headers = {"If-Match": answer.headers["etag"]}
    put = await service.api.put(path, json=answer.json(), headers=headers)
    assert put.status_code == 200, (path, put.text)
    assert put.headers["etag"] == answer.headers["etag"], path
    patched = await service.api.patch(path, json={**answer.json(), "id": 5, "warnings": None}, headers=headers)
    # Objects of a collection have a read-only id. Settings have none, so for them `id` is an unknown member.
    is_singleton = path.startswith("/v1/settings/")
    assert patched.status_code == (422 if is_singleton else 200), (path, patched.text)


def test_a_patch_has_no_read_only_members(document: dict[str, Any]) -> None:
    for resource in RESOURCES.values():
        patch = document["components"]["schemas"][f"{resource.noun}Patch"]
        assert not resource.read_only & patch["properties"].keys()
        assert patch["additionalProperties"] is False


def test_each_enumeration_in_the_table_is_in_the_document(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, (description, values) in openapi_schemas.ENUMERATIONS.items():
        schema = schemas[name]
        shown = schema.get("enum") or schema["x-extensible-enum"]
        assert (schema["description"], shown) == (description, list(values)), name
    assert openapi_schemas.UNIONS.keys() <= document["components"]["schemas"].keys()
