"""The OpenAPI 3.1 document: the same text for the same code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.config_api.http import responses

API_VERSION = "1"
DESCRIPTION = (
    "Settings and operation of a Posthouse mail gateway. Every answer but a page carries an ETag; changes need it as "
    "If-Match. A change that changes nothing keeps the ETag. Every POST that changes something takes Idempotency-Key. "
    "Unknown members and query parameters are refused. Errors are problem details (RFC 9457)."
)
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
    {"name": "history", "description": "Revisions, the audit log, export and import."},
    {"name": "access", "description": "API keys."},
]


_ENTITY_TAGS = r'^(\*|"[0-9]{1,18}"(, "[0-9]{1,18}")*)$'
_PARAMETERS = {
    "id": "The object's id.",
    "client": "An IPv4 or IPv6 address, or the IPv6 /64 that is blocked.",
    "name": "The destination's name.",
    "action": "What to do.",
}


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
    schemas = schema["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (responses.FieldProblem, responses.ProblemDetails):
        made = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
        made.pop("$defs", None)
        schemas[model.__name__] = made
    schema["components"]["schemas"] = dict(sorted(schemas.items()))
    for name, made in schemas.items():
        if name.endswith("Patch"):
            for member in made["properties"].values():
                # A patch has no defaults: what is absent stays as it is.
                member.pop("default", None)
    for operation in _operations(schema):
        for parameter in operation.get("parameters", ()):
            _complete(parameter)
    schema["servers"] = [{"url": "/"}]
    app.openapi_schema = schema
    return schema


def text(app: FastAPI) -> str:
    """The document as it is committed."""
    return json.dumps(document(app), indent=2, ensure_ascii=False) + "\n"


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        yield from path.values()


def _complete(parameter: dict[str, Any]) -> None:
    """What FastAPI does not know: no parameter is null, and If-Match is needed (its absence is our 428)."""
    members = parameter["schema"].pop("anyOf", [])
    present = [member for member in members if member.get("type") != "null"]
    if len(present) == 1:
        parameter["schema"] = {**present[0], **parameter["schema"]}
    elif present:
        parameter["schema"]["anyOf"] = present
    if parameter["name"] in ("if-match", "if-none-match"):
        parameter["required"] = parameter["name"] == "if-match"
        parameter["schema"] = {"type": "string", "pattern": _ENTITY_TAGS}
    description = _PARAMETERS.get(parameter["name"])
    if description is not None:
        parameter.setdefault("description", description)
        parameter["schema"].pop("title", None)
