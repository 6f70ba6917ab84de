"""The OpenAPI 3.1 document: the same text for the same code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.config_api.http import batch_routes, openapi_parts, responses
from services.config_api.http import openapi_schemas as shapes
from services.config_api.http.openapi_schemas import Schemas
from services.config_api.http.roles import RoleTable
from services.config_api.resources.catalogue import RESOURCES
from services.config_api.resources.merge_patch import patch_model

API_VERSION = "1"
DESCRIPTION = """Settings and operation of a Posthouse mail gateway.

**Keys and roles.** Each request carries an API key as `Authorization: Bearer KEY`. A key has one of four roles.
A sender hands in mail and sees what became of it. A reader, an operator and an admin may each do what the one before
may. `x-required-role` of an operation is the role that it needs.

**Changes.** What has an ETag is changed with `If-Match`; without it the answer is 428, and 412 when somebody else was
faster. A change that changes nothing keeps the ETag. PUT takes what GET gave: read-only members are ignored. Every
other member that an operation does not have is refused, and so is every unknown query parameter. A POST that changes
something takes `Idempotency-Key`, with which it can be sent again without harm.

**Growth.** Answers get new members, and their enumerations (`x-extensible-enum`) new values, within version 1: ignore
what you do not know.

**Errors** are problem details (RFC 9457). `type` and `errors[].code` are constant and listed in docs/api-errors.md."""
TAGS: list[dict[str, Any]] = [
    {"name": "general", "description": "SMTP AUTH, the session profile, the external postmasters."},
    {"name": "delivery", "description": "Where mail goes, and how it is signed."},
    {"name": "relay control", "description": "Who may send anywhere, and which domains are passed on."},
    {"name": "local domains", "description": "Domains whose mail ends here."},
    {"name": "accounts", "description": "Logins, addresses, aliases."},
    {"name": "security", "description": "Block and allow lists, and the policies."},
    {"name": "queue", "description": "Mail on its way, and its history."},
    {"name": "explain", "description": "Why something is decided or routed as it is."},
    {"name": "status", "description": "What runs, and what is to be looked at."},
    {"name": "events", "description": "What becomes of messages, told to other systems; mail over HTTP."},
    {"name": "configuration", "description": "Revisions, the audit log, export and import."},
    {"name": "access", "description": "API keys."},
]
_METHODS = ("get", "put", "post", "delete", "patch")


def document(app: FastAPI) -> dict[str, Any]:
    """Made once for an application."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        tags=app.openapi_tags,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schema["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    schema["info"]["contact"] = {"name": "The operators of this gateway"}
    schema["servers"] = [{"url": "/", "description": "The gateway that serves this document."}]
    schema["security"] = [{"key": []}]
    schemas: Schemas = schema["components"]["schemas"]
    _add_models(schemas, app.state.schemas)
    shapes.tidy(schemas)
    roles = {route.operation_id: role for route, role in RoleTable(app.state.routes).roles}
    for operation in _operations(schema):
        openapi_parts.complete_operation(operation, roles[operation["operationId"]], schemas)
    _mark_directions(schema, schemas)
    openapi_parts.share(schema, list(_operations(schema)))
    _drop_unused(schema)
    app.openapi_schema = schema
    return schema


def text(app: FastAPI) -> str:
    """The document as it is committed."""
    return json.dumps(document(app), indent=2, ensure_ascii=False) + "\n"


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        yield from (path[method] for method in _METHODS if method in path)


def _add_models(schemas: Schemas, others: Sequence[type[BaseModel]]) -> None:
    """The schemas that no signature of an endpoint names."""
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    patches = [patch_model(resource.model) for resource in RESOURCES.values()]
    models: list[type[BaseModel]] = [*patches, responses.ProblemDetails, *others]
    _, generated = models_json_schema(
        [(model, "validation") for model in models], ref_template=shapes.PREFIX + "{model}"
    )
    for name, model in generated["$defs"].items():
        schemas.setdefault(name, model)
        for member in model["properties"].values() if name.endswith("Patch") else ():
            # A patch has no defaults: what is absent stays as it is. Examples stand in the schema of the whole.
            for key in ("default", "examples"):
                member.pop(key, None)
    batch_routes.add_schemas(schemas)
    for resource in RESOURCES.values():
        shapes.mark_read_only(schemas[resource.noun], sorted(resource.read_only))


def _mark_directions(schema: dict[str, Any], schemas: Schemas) -> None:
    """Schemas of answers are open, and schemas that are only in requests are closed."""
    sent: set[str] = set()
    answered: set[str] = set()
    for operation in _operations(schema):
        sent |= shapes.references([operation.get("requestBody"), operation.get("parameters")])
        answered |= shapes.references(operation["responses"])
    in_requests, in_answers = shapes.reachable(sent, schemas), shapes.reachable(answered, schemas)
    shapes.open_and_close(schemas, in_requests, in_answers)


def _drop_unused(schema: dict[str, Any]) -> None:
    components = schema["components"]
    schemas = components["schemas"]
    used = shapes.references([schema["paths"], *(part for name, part in components.items() if name != "schemas")])
    reachable = shapes.reachable(used, schemas)
    components["schemas"] = {name: schemas[name] for name in sorted(reachable)}


def repeated(node: Any, octets: int) -> list[str]:
    """The parts of the document, of more than so many octets in compact form, that stand in it twice.

    A reference is how the document shares, so references count for nothing.
    """
    counted: Counter[str] = Counter()
    _count(node, octets, counted)
    return [part for part, count in counted.items() if count > 1]


def _count(node: Any, octets: int, counted: Counter[str]) -> int:
    """Counts the parts below; returns the octets of this one without those of references."""
    if isinstance(node, dict) and "$ref" in node:
        return len(compact({key: value for key, value in node.items() if key != "$ref"}).encode())
    if isinstance(node, dict):
        size = sum(len(compact(key).encode()) + 2 + _count(inner, octets, counted) for key, inner in node.items())
    elif isinstance(node, list):
        size = sum(1 + _count(inner, octets, counted) for inner in node)
    else:
        size = len(compact(node).encode())
    if size > octets:
        counted[compact(node)] += 1
    return size


def compact(node: Any) -> str:
    return json.dumps(node, separators=(",", ":"), ensure_ascii=False)
