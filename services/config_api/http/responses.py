"""Defines the schemas of answers (a resource, a page of resources, a problem), and the functions that make answers."""

from __future__ import annotations

import functools
from typing import Annotated, Any

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model

from services.config_api.changes.editor import Changed, time_text
from services.config_api.changes.entity_tags import entity_tag
from services.config_api.problems import MEDIA_TYPE
from services.config_api.resources.catalogue import RESOURCES
from services.config_api.resources.description import Body, Collection, Resource, shown_body
from services.config_api.storage.documents import Document
from services.config_api.storage.idempotency import StoredResponse

Id = Annotated[
    str,
    Field(
        description="Made by the service. The ids sort in the order of creation.", json_schema_extra={"format": "uuid"}
    ),
]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-31T12:00:00.000Z"])]


class Answer(BaseModel):
    """The base class of models that occur only in answers."""


class FieldProblem(Answer):
    """One faulty field."""

    location: str = Field(description="One of body, query, path, header.", examples=["body"])
    pointer: str = Field(description="JSON pointer (RFC 6901) of the field.", examples=["/profile/hostname"])
    code: str = Field(description="The constant code of the fault, from docs/api-errors.md.", examples=["missing"])
    detail: str = Field(description="A sentence for people. It never contains what the client sent.")


class ProblemDetails(Answer):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="A URN that names the type of the problem.", examples=["urn:posthouse:problem:invalid"]
    )
    title: str = Field(description="A sentence that is the same for all problems of the type.")
    status: int = Field(ge=400, le=599, description="The HTTP status.", examples=[422])
    detail: str | None = Field(default=None, description="Details about this problem.")
    errors: list[FieldProblem] | None = Field(default=None, description="The faulty fields.")


class ConfigurationWarning(Answer):
    """A setting that is allowed but probably a mistake."""

    pointer: str = Field(description="JSON pointer of the field.", examples=["/networks/0"])
    code: str = Field(description="The constant code of the warning, from docs/api-errors.md.", examples=["wide"])
    detail: str = Field(description="A sentence for people.")


class Removed(Answer):
    """The answer when an object was removed to which other settings still refer."""

    warnings: list[ConfigurationWarning] = Field(description="The settings that still refer to the object.")


PROBLEMS = {
    400: "The request cannot be read.",
    401: "A valid key is needed.",
    403: "The role of the key does not allow this.",
    404: "There is no such object.",
    409: "Another object has this value already, or the state of the object does not allow this.",
    412: "The object has changed since it was read, or If-None-Match excludes it.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    422: "Members or parameters are not valid.",
    428: "If-Match is required.",
    429: "Too many wrong keys came from this address, or too many requests of one key are waiting.",
    503: "Another service, or the database, does not answer.",
}
NOTHING_DONE = "Nothing was done. `detail` says why."


def problem_responses(*statuses: int, noun: str = "", conflict: str = "") -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of a route for the OpenAPI document. 400, 401, 403, 413, 422, 429 and 503 are always
    included, because any request can get them. `noun` names the object that was not found when the answer is 404.
    `conflict` is the description of status 409, if it differs from the usual one.
    """
    descriptions = dict(PROBLEMS)
    if noun:
        descriptions[404] = f"There is no such {noun}."
    if conflict:
        descriptions[409] = conflict
    return {
        status: {
            "description": descriptions[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({400, 401, 403, 413, 422, 429, 503, *statuses})
    }


# The header is empty here, because the OpenAPI document describes it once for all answers.
ETAG_HEADER: dict[str, Any] = {"ETag": {}}


@functools.cache
def shown_model(kind: str) -> type[BaseModel]:
    """Makes the schema of a resource in answers: the members that clients set, the members that the service adds, and
    warnings about the values that were written.
    """
    resource = RESOURCES[kind]
    members: dict[str, Any] = {
        "warnings": (
            list[ConfigurationWarning],
            Field(
                default=[],
                description="Warnings about the values that were just written. They are not stored, "
                "and GET does not show them.",
            ),
        )
    }
    bases: tuple[type[BaseModel], ...] = (resource.model,)
    if isinstance(resource, Collection):
        members["id"] = (Id, ...)
        members["created_at"] = (Time, Field(description="When it was made."))
        members["updated_at"] = (Time, Field(description="When it was last written."))
        if resource.shown is not None:
            bases = (resource.model, resource.shown)
    return create_model(resource.noun, __base__=bases, __doc__=resource.model.__doc__, **members)


def page_model(resource: Collection) -> type[BaseModel]:
    return create_model(
        f"{resource.noun}Page",
        __base__=Answer,
        __doc__=f"A page of {plural(resource.label)}.",
        items=(list[shown_model(resource.kind)], Field(description="The objects in order of creation.")),  # type: ignore[misc, arg-type]
        next_cursor=(
            str | None,
            Field(description="The cursor of the next page. null means that this is the last page."),
        ),
        total=(
            int | None,
            Field(
                description="The number of objects in all pages. It is present when with_total asks for it.",
                json_schema_extra={"format": "int64"},
            ),
        ),
    )


def plural(label: str) -> str:
    if label.endswith("y") and label[-2] not in "aeiou":
        return f"{label[:-1]}ies"
    return label + ("es" if label.endswith("s") else "s")


def record(resource: Collection, document: Document, extra: Body) -> Body:
    """Returns a stored object in the form of answers. `extra` has read-only members from other tables."""
    computed = resource.show(document.body) if resource.show is not None else {}
    return {
        "id": document.id,
        **shown_body(resource, document.body),
        **computed,
        **extra,
        "created_at": time_text(document.created_at),
        "updated_at": time_text(document.updated_at),
    }


def etag(document: Document) -> dict[str, str]:
    return {"ETag": entity_tag(document.version)}


def changed(resource: Resource, result: Changed, extra: Body, status: int = 200) -> JSONResponse:
    """Makes the answer to a write."""
    document = result.document
    body = (
        record(resource, document, extra) if isinstance(resource, Collection) else shown_body(resource, document.body)
    )
    content = {**body, **(result.shown_once or {}), "warnings": [finding.as_json() for finding in result.findings]}
    return JSONResponse(content, status, etag(document))


def kept(answer: StoredResponse, *, again: bool = False) -> Response:
    """Makes an HTTP response from a stored answer. `again` means that the request was repeated, and gets its first
    answer again.
    """
    more = {"Idempotency-Replayed": "true"} if again else {}
    headers = {"Content-Type": "application/json", **answer.headers, **more}
    return Response(answer.body, answer.status, headers)


def as_kept(response: JSONResponse) -> StoredResponse:
    return StoredResponse(response.status_code, bytes(response.body).decode())
