"""Completes the operations of the OpenAPI document: role, headers, error examples, and the parts that they share.

FastAPI repeats each parameter and each response wherever it is used. This module makes components of those that occur
more than once. Their names do not change when operations are added.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.config_api.http import openapi_schemas as shapes
from services.config_api.http.openapi_schemas import Schema, Schemas, pascal_case
from services.config_api.http.responses import NOTHING_DONE, PROBLEMS
from services.config_api.problems import (
    MEDIA_TYPE,
    SENTENCES,
    FieldError,
    Problem,
    conflict,
    invalid,
    malformed,
    not_found,
    nothing_done,
    precondition_required,
    stale,
)

Operation = dict[str, Any]

_ENTITY_TAGS = r'^(\*|"[0-9]{1,18}"(, "[0-9]{1,18}")*)$'
_PARAMETERS = {
    "id": "The id of the object.",
    "client": "An IPv4 or IPv6 address, or the IPv6 /64 that is blocked.",
    "name": "The name of the destination.",
    "event_id": "The id of the event.",
    "queue_id": "The queue id of the message, as in `250 Message accepted as …`.",
}
_HEADER_NAMES = {
    "if-match": "If-Match",
    "if-none-match": "If-None-Match",
    "idempotency-key": "Idempotency-Key",
}
# The operations that make a revision of the configuration, if they need the role admin.
_CHANGES_CONFIGURATION = re.compile(r"(create|replace|update|delete|rotate|batch|rollBack|import)[A-Z]").match
_PREFER: Schema = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "respond-async: the answer does not wait until the change is in force (RFC 7240 section 4.1). "
    "Posthouse-In-Force of the answer says whether it is.",
    "example": "respond-async",
}
HEADERS: Mapping[str, Schema] = {
    "ETag": {
        "description": "The version of the object in the answer, for If-Match and If-None-Match.",
        "schema": {"type": "string"},
        "example": '"42"',
    },
    "Location": {
        "description": "The path of the new object.",
        "schema": {"type": "string"},
        "example": "/v1/accounts/0192f3c4-5a6b-7c8d-9e0f-1a2b3c4d5e6f",
    },
    "X-Request-Id": {
        "description": "The id of the request in the log and in the audit log.",
        "schema": {"type": "string"},
        "example": "5f0c7f0b8a5e4a4c9d1e2f3a4b5c6d7e",
    },
    "Idempotency-Replayed": {
        "description": "true means that the request was done before, and that this is the answer of that time.",
        "schema": {"type": "string"},
        "example": "true",
    },
    "Retry-After": {
        "description": "The number of seconds after which the request may be tried again (RFC 9110 section 10.2.3).",
        "schema": {"type": "string"},
        "example": "5",
    },
    "WWW-Authenticate": {
        "description": "How to send the key (RFC 9110 section 11.6.1).",
        "schema": {"type": "string"},
        "example": "Bearer",
    },
}


@dataclass(frozen=True, slots=True)
class Error:
    """An error response that several operations share."""

    description: str
    example: Problem
    headers: tuple[str, ...] = ()


NOT_MODIFIED = "NotModified"
CLIENT_ERROR = "ClientError"
SERVER_ERROR = "ServerError"
NO_SUCH = "There is no such "
# The statuses of every operation, because any request may have a body and a key.
_OF_ANY_REQUEST = (400, 401, 403, 413, 429)
_FORBIDDEN_DETAIL = "This needs the role admin; this key is reader."
ERRORS: Mapping[str, Error] = {
    "Malformed": Error(PROBLEMS[400], malformed("The body is not JSON.")),
    "Unauthorized": Error(
        PROBLEMS[401],
        Problem(401, "unauthorized", "A valid key is needed.", "This key is not valid."),
        ("WWW-Authenticate",),
    ),
    "Forbidden": Error(
        PROBLEMS[403],
        Problem(403, "forbidden", "This key may not do that.", _FORBIDDEN_DETAIL, more={"required_role": "admin"}),
    ),
    "NotFound": Error(PROBLEMS[404], not_found("object")),
    "Conflict": Error(PROBLEMS[409], conflict([FieldError("/name", "taken", SENTENCES["taken"])]), ("Retry-After",)),
    "NothingDone": Error(NOTHING_DONE, nothing_done("No delivery of this message can be held: 1 is delivered.")),
    "PreconditionFailed": Error(PROBLEMS[412], stale()),
    "TooLarge": Error(PROBLEMS[413], Problem(413, "too-large", "The body is too large.")),
    "UnsupportedMediaType": Error(PROBLEMS[415], Problem(415, "unsupported-media-type", "The body must be JSON.")),
    "Invalid": Error(
        PROBLEMS[422], invalid([FieldError("/no_such_member", "unknown_member", SENTENCES["unknown_member"])])
    ),
    "PreconditionRequired": Error(PROBLEMS[428], precondition_required()),
    "TooManyRequests": Error(
        PROBLEMS[429], Problem(429, "too-many-requests", "Too many requests wait already."), ("Retry-After",)
    ),
    "Unavailable": Error(
        PROBLEMS[503],
        Problem(503, "service-unavailable", "relay does not answer.", more={"service": "relay"}),
        ("Retry-After",),
    ),
}


def complete_operation(operation: Operation, role: str, schemas: Schemas) -> None:
    """Completes an operation with role, parameters, headers and the error example."""
    operation["x-required-role"] = role
    description = operation.get("description", "").strip().removesuffix(f"Role: {role}.").rstrip()
    operation["description"] = f"{description}\n\nRole: {role}."
    operation.pop("security", None)
    for parameter in operation.get("parameters", ()):
        _complete_parameter(parameter, operation["operationId"], schemas)
    if role == "admin" and _CHANGES_CONFIGURATION(operation["operationId"]):
        # FastAPI does not know this header, because the middleware reads it.
        operation.setdefault("parameters", []).append(dict(_PREFER))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        _tidy_content(content, schemas)
    operation.get("requestBody", {}).pop("title", None)
    takes_key = any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    for status, response in operation["responses"].items():
        if int(status) < 300:
            for content in response.get("content", {}).values():
                _tidy_content(content, schemas)
            names = [*response.get("headers", ()), "X-Request-Id", *(["Idempotency-Replayed"] if takes_key else [])]
            response["headers"] = {name: _reference("headers", name) for name in names}
    operation["responses"] = _responses(operation, schemas)


def _tidy_content(content: dict[str, Any], schemas: Schemas) -> None:
    holder = {"items": content["schema"]}
    shapes.tidy_holder(holder, schemas)
    content["schema"] = holder["items"]


def _complete_parameter(parameter: dict[str, Any], operation: str, schemas: Schemas) -> None:
    """Adds facts that FastAPI does not know: no parameter is null, and If-Match is required (without it the answer is
    428).
    """
    schema = parameter["schema"]
    members = schema.pop("anyOf", [])
    present = [member for member in members if member.get("type") != "null"]
    if len(present) == 1:
        schema.update({**present[0], **schema})
    elif present:
        schema["anyOf"] = present
    name = parameter["name"] = _HEADER_NAMES.get(parameter["name"], parameter["name"])
    if name in ("If-Match", "If-None-Match"):
        parameter["required"] = name == "If-Match"
        schema = {"type": "string", "pattern": _ENTITY_TAGS}
    description = parameter.get("description") or _PARAMETERS.get(name) or schema.get("description")
    parameter["schema"] = shapes.tidy_parameter(schema, operation, name, schemas)
    parameter["schema"].pop("description", None)
    if description is not None:
        parameter["description"] = description
    if not parameter["required"]:
        del parameter["required"]


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    """Returns successes unchanged, and for each error a reference to a component.

    The errors that any request may get are in one component for all 4XX, and one for all 5XX.
    """
    responses = {}
    for status, response in sorted(operation["responses"].items()):
        if int(status) < 300:
            responses[status] = {**response, "description": _success(response)}
        elif int(status) not in _OF_ANY_REQUEST and int(status) < 500:
            responses[status] = _reference("responses", _component(status, response, operation, schemas))
    responses["4XX"] = _reference("responses", CLIENT_ERROR)
    responses["5XX"] = _reference("responses", SERVER_ERROR)
    return responses


def _success(response: dict[str, Any]) -> str:
    described = str(response["description"])
    return "Done." if described == "Successful Response" else described


def _component(status: str, response: dict[str, Any], operation: Operation, schemas: Schemas) -> str:
    """Returns the name of the component for a response of FastAPI."""
    if status == "304":
        return NOT_MODIFIED
    noun = response["description"].removeprefix(NO_SUCH).removesuffix(".")
    if status == "404" and noun != response["description"]:
        return pascal_case(noun) + "NotFound"
    if status == "422" and (needed := _needed_member(operation, schemas)):
        return pascal_case(needed) + "Missing"
    return next(name for name, error in ERRORS.items() if response["description"] == error.description)


def _needed_member(operation: Operation, schemas: Schemas) -> str:
    """Returns the first required member in the body of an operation. The result is empty when it needs none."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        names = shapes.references(content["schema"])
        schema = schemas[min(names)] if len(names) == 1 else {}
        if "oneOf" in schema:
            return str(schema["discriminator"]["propertyName"])
        return str(next(iter(schema.get("required", ())), ""))
    return ""


def _made_response(name: str) -> dict[str, Any]:
    """Makes a component from its name, which tells what is not found or missing."""
    if name.endswith("NotFound"):
        words = re.findall(r"[A-Z]{2,}(?=[A-Z][a-z]|$)|[A-Z][a-z]*", name.removesuffix("NotFound"))
        noun = " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
        return _error_response(Error(f"{NO_SUCH}{noun}.", not_found(noun)))
    member = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Missing")).lower()
    example = invalid([FieldError(f"/{member}", "missing", SENTENCES["missing"])])
    return _error_response(Error(ERRORS["Invalid"].description, example))


def _error_response(error: Error) -> dict[str, Any]:
    response: dict[str, Any] = {"description": error.description}
    names = [*error.headers, "X-Request-Id"]
    response["headers"] = {header: _reference("headers", header) for header in names}
    example = error.example.as_json()
    response["content"] = {MEDIA_TYPE: {"schema": shapes.reference("ProblemDetails"), "example": example}}
    return response


def share(document: dict[str, Any], operations: Sequence[Operation]) -> None:
    """Makes components of parts that several operations have, and of headers and errors."""
    components = document["components"]
    used = set(re.findall(r'"#/components/responses/([A-Za-z]+)"', json.dumps(document["paths"])))
    components["responses"] = {name: _shared_response(name) for name in sorted(used)}
    components["headers"] = dict(sorted(HEADERS.items()))
    components["parameters"] = _share_parameters(operations)


def _shared_response(name: str) -> dict[str, Any]:
    if name == NOT_MODIFIED:
        return _not_modified()
    if name in (CLIENT_ERROR, SERVER_ERROR):
        statuses = _OF_ANY_REQUEST if name == CLIENT_ERROR else (503,)
        return _any_error([error for error in ERRORS.values() if error.example.status in statuses])
    return _error_response(ERRORS[name]) if name in ERRORS else _made_response(name)


def _any_error(errors: Sequence[Error]) -> dict[str, Any]:
    """Makes one response for several statuses, with an example of each."""
    description = " ".join(f"{error.example.status}: {error.description}" for error in errors)
    headers = sorted({header for error in errors for header in error.headers} | {"X-Request-Id"})
    examples = {error.example.code.replace("-", "_"): {"value": error.example.as_json()} for error in errors}
    return {
        "description": description,
        "headers": {header: _reference("headers", header) for header in headers},
        "content": {MEDIA_TYPE: {"schema": shapes.reference("ProblemDetails"), "examples": examples}},
    }


def _not_modified() -> dict[str, Any]:
    headers = {name: _reference("headers", name) for name in ("ETag", "X-Request-Id")}
    return {"description": "The object still has the version that If-None-Match names.", "headers": headers}


def _share_parameters(operations: Sequence[Operation]) -> dict[str, Any]:
    """Makes components of the parameters that several operations have, and returns them by name.

    When several parameters have the same name, the component of the most frequent one gets this name. For the others,
    their tag is put before the name.
    """
    counted = Counter(
        json.dumps(parameter) for operation in operations for parameter in operation.get("parameters", ())
    )
    names: dict[str, str] = {}
    for text, count in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        parameter = json.loads(text)
        name = pascal_case(parameter["name"])
        if parameter["in"] == "path":
            name = "Path" + name
        if count > 1 and name in names.values():
            tags = {operation["tags"][0] for operation in operations if parameter in operation.get("parameters", ())}
            name = pascal_case(min(tags)) + name
        if count > 1 and name not in names.values():
            names[text] = name
    for operation in operations:
        operation["parameters"] = [
            _reference("parameters", names[text]) if (text := json.dumps(parameter)) in names else parameter
            for parameter in operation.get("parameters", ())
        ]
        if not operation["parameters"]:
            del operation["parameters"]
    return {name: json.loads(text) for text, name in sorted(names.items(), key=lambda item: item[1])}


def _reference(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}
