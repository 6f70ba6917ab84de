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
A sender submits mail and sees what happened to it. A reader sees everything except secrets. An operator may do what a
reader may, and also acts on the queue. An admin may do everything except submit mail. `x-required-role` of an operation
is the role that it needs.

**Changes.** An object with an ETag is changed with `If-Match`. Without it the answer is 428. If somebody else has
changed the object, the answer is 412. A request that changes nothing keeps the ETag. PUT accepts the answer of GET,
because read-only members are ignored. All other unknown members, and all unknown query parameters, are refused. A POST
that changes something accepts `Idempotency-Key`, so that it can be repeated safely.

**Growth.** Within version 1, answers may get new members, and their enumerations (`x-extensible-enum`) new values.
Clients must ignore members and values that they do not know.

**Errors** are problem details (RFC 9457). `type` and `errors[].code` are constant and listed in docs/api-errors.md."""
TAGS: list[dict[str, Any]] = [
    {"name": "general", "description": "SMTP AUTH, the session profile, the external postmasters."},
    {"name": "delivery", "description": "Where mail goes, and how it is signed."},
    {"name": "relay control", "description": "Trusted networks, and the domains whose mail is passed on."},
    {"name": "local domains", "description": "Domains whose mail is delivered into mailboxes."},
    {"name": "accounts", "description": "Logins, addresses, aliases."},
    {"name": "security", "description": "Block and allow lists, and the policies."},
    {"name": "queue", "description": "The queue, and the history of messages."},
    {"name": "explain", "description": "Explanations of decisions and routes."},
    {"name": "status", "description": "The state of the services, and warnings."},
    {"name": "events", "description": "Events about messages for other systems; mail over HTTP."},
    {"name": "configuration", "description": "Revisions, the audit log, export and import."},
    {"name": "access", "description": "API keys."},
]
_METHODS = ("get", "put", "post", "delete", "patch")


def document(app: FastAPI) -> dict[str, Any]:
    """Makes the document, once for each application."""
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
    """Returns the document in the form in which it is committed."""
    return json.dumps(document(app), indent=2, ensure_ascii=False) + "\n"


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        yield from (path[method] for method in _METHODS if method in path)


def _add_models(schemas: Schemas, others: Sequence[type[BaseModel]]) -> None:
    """Adds the schemas that no endpoint names in its signature."""
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
            # A patch has no defaults, because an absent member does not change. The examples are in the schema of the
            # whole object.
            for key in ("default", "examples"):
                member.pop(key, None)
    batch_routes.add_schemas(schemas)
    for resource in RESOURCES.values():
        shapes.mark_read_only(schemas[resource.noun], sorted(resource.read_only))


def _mark_directions(schema: dict[str, Any], schemas: Schemas) -> None:
    """Makes schemas of answers open, and schemas that are used only in requests closed."""
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
    """Returns the parts of the document that occur in it twice and have more than `octets` octets in compact form.

    References are not counted, because they are the means of sharing.
    """
    counted: Counter[str] = Counter()
    _count(node, octets, counted)
    return [part for part, count in counted.items() if count > 1]


def _count(node: Any, octets: int, counted: Counter[str]) -> int:
    """Counts the parts below a part. Returns the octets of the part without references."""
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
