"""The OpenAPI 3.1 document: `python -m services.config_api.openapi` prints it, the same for the same code."""

from __future__ import annotations

import json
import sys
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.config_api import answers

API_VERSION = "1"
DESCRIPTION = (
    "Settings and operation of a Posthouse mail gateway. Every answer but a page carries an ETag; changes need it as "
    "If-Match. Errors are problem details (RFC 9457)."
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
    {"name": "history", "description": "Revisions, the audit log, export and import."},
    {"name": "access", "description": "API keys."},
]


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
    for model in (answers.FieldProblem, answers.ProblemDetails):
        made = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
        made.pop("$defs", None)
        schemas[model.__name__] = made
    schema["components"]["schemas"] = dict(sorted(schemas.items()))
    schema["servers"] = [{"url": "/"}]
    app.openapi_schema = schema
    return schema


def main() -> None:
    from services.config_api.app import describe_app

    json.dump(document(describe_app()), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
