"""The schemas of answers: a resource as it is shown, a page of them, a problem; and their making."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model

from services.config_api.changes.editor import Changed, time_text
from services.config_api.changes.entity_tags import entity_tag
from services.config_api.problems import MEDIA_TYPE
from services.config_api.resources.description import Body, Collection, Resource, shown_body
from services.config_api.storage.documents import Document
from services.config_api.storage.idempotency import StoredResponse

_ID = "0192f3c4-5a6b-7c8d-9e0f-1a2b3c4d5e6f"
Id = Annotated[str, Field(description="Made by the service; sorts by creation.", examples=[_ID])]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-31T12:00:00.000Z"])]


class Answer(BaseModel):
    """Something that is only ever answered."""

    model_config = ConfigDict(extra="forbid")


class FieldProblem(Answer):
    """One field at fault."""

    in_: str = Field(alias="in", description="body, query, path or header.", examples=["body"])
    pointer: str = Field(description="JSON pointer (RFC 6901) of the field.", examples=["/profile/hostname"])
    code: str = Field(description="A constant name of the fault.", examples=["hostname"])
    detail: str = Field(description="A sentence for people; never what was sent.")


class ProblemDetails(Answer):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A URN that names the kind of problem.", examples=["urn:posthouse:problem:invalid"])
    title: str = Field(description="A sentence that is the same for the kind.")
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str | None = Field(default=None, description="More about this one.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields at fault.")


class ConfigurationWarning(Answer):
    """A setting that is allowed but probably a mistake."""

    pointer: str = Field(description="JSON pointer of the field.", examples=["/networks/0"])
    code: str = Field(description="Its constant name.", examples=["wide"])
    detail: str = Field(description="A sentence for people.")


class Removed(Answer):
    """Something was removed that other settings still point to."""

    warnings: list[ConfigurationWarning] = Field(description="What still points to it.")


_PROBLEMS = {
    400: "The request can't be read.",
    401: "A valid key is needed.",
    403: "The key's role does not allow this.",
    404: "There is no such thing.",
    409: "Something else already has this value.",
    412: "It has changed since it was read, or If-None-Match excludes it.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    422: "Fields are not valid.",
    428: "If-Match is required.",
    429: "Too many wrong keys from this address, or too many requests of one key wait already.",
    503: "Another service, or the database, does not answer.",
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`; 400, 401, 403, 413, 422, 429 and 503 always: a body may come with any request."""
    return {
        status: {
            "description": _PROBLEMS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({400, 401, 403, 413, 422, 429, 503, *statuses})
    }


ETAG_HEADER = {"ETag": {"description": "The version, for If-Match.", "schema": {"type": "string"}, "example": '"42"'}}
_WARNINGS: Any = (
    list[ConfigurationWarning],
    Field(default=[], description="Doubts about what was just written; not stored, and absent from GET."),
)


def changed_model(resource: Resource) -> type[BaseModel]:
    """A singleton as PUT and PATCH answer it."""
    return create_model(
        f"{resource.noun}Changed", __base__=resource.model, __doc__=resource.model.__doc__, warnings=_WARNINGS
    )


def record_model(resource: Collection) -> type[BaseModel]:
    """An object of a collection as it is shown."""
    bases = (resource.model, resource.shown) if resource.shown is not None else (resource.model,)
    return create_model(
        f"{resource.noun}Record",
        __base__=bases,
        __doc__=resource.model.__doc__,
        id=(Id, ...),
        created_at=(Time, Field(description="When it was made.")),
        updated_at=(Time, Field(description="When it was last written.")),
        warnings=_WARNINGS,
    )


def created_model(resource: Collection, record: type[BaseModel]) -> type[BaseModel]:
    """As the answer to POST: an API key is shown in it, once."""
    if resource.kind != "api-keys":
        return record
    key = (str, Field(description="The key itself. It is never shown again.", examples=["ph_1a2b3c4d5e_…"]))
    return create_model("ApiKeyCreated", __base__=record, __doc__="A new key, shown this once.", key=key)


def page_model(resource: Collection, record: type[BaseModel]) -> type[BaseModel]:
    return create_model(
        f"{resource.noun}Page",
        __base__=Answer,
        __doc__=f"A page of {resource.plural}.",
        items=(list[record], Field(description="In order of creation.")),  # type: ignore[valid-type]
        next_cursor=(str | None, Field(description="cursor of the next page; null: this is the last.")),
    )


def record(resource: Collection, document: Document, extra: Body) -> Body:
    """A stored object as it is shown; `extra`: read-only members that are counted elsewhere."""
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
    """The answer to a write."""
    document = result.document
    body = (
        record(resource, document, extra) if isinstance(resource, Collection) else shown_body(resource, document.body)
    )
    content = {**body, **(result.shown_once or {}), "warnings": [finding.as_json() for finding in result.findings]}
    return JSONResponse(content, status, etag(document))


def kept(answer: StoredResponse, *, again: bool = False) -> Response:
    """An answer that is kept for a repetition of its request; `again`: this is one."""
    more = {"Idempotency-Replayed": "true"} if again else {}
    headers = {"Content-Type": "application/json", **answer.headers, **more}
    return Response(answer.body, answer.status, headers)


def as_kept(response: JSONResponse) -> StoredResponse:
    return StoredResponse(response.status_code, bytes(response.body).decode())
