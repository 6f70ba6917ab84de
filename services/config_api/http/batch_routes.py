"""`POST /v1/{collection}:batch`: many changes of a collection at once."""

# No postponed annotations here: FastAPI reads the parameters' types, which are made per resource.

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from services.config_api.changes import batch
from services.config_api.changes.batch import BatchEditor, Done
from services.config_api.changes.entity_tags import entity_tag
from services.config_api.http import responses
from services.config_api.http.context import IdempotencyKey, needs, parts, repetition
from services.config_api.http.parsed_body import Route
from services.config_api.http.resource_routes import request_body
from services.config_api.resources.catalogue import COLLECTIONS
from services.config_api.resources.description import Collection
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.revision import Actor

_SCHEMAS = "#/components/schemas/"
# The secrets of the others are shown once, in the answer to each creation.
BATCHED = tuple(each for each in COLLECTIONS if each.kind not in ("api-keys", "webhooks"))


class BatchedObject(responses.Answer):
    """What became of one object."""

    id: str = Field(description="Its id.")
    etag: str | None = Field(description="Its ETag after the batch; null: it is deleted.", examples=['"42"'])


class BatchResult(responses.Answer):
    """What a batch did."""

    revision: int = Field(
        description="The newest revision after it; all changes of a batch are one.",
        json_schema_extra={"format": "int64"},
    )
    objects: list[BatchedObject] = Field(description="One for each operation, in the same order.")
    warnings: list[responses.ConfigurationWarning] = Field(
        description=(
            "Doubts about the objects, and what still points to one that is deleted, disabled or renamed. Pointers are"
            " into the request. Of many objects not all are looked at."
        )
    )


def batch_router(resource: Collection) -> APIRouter:
    """The batch of one collection."""
    router = APIRouter(tags=[resource.tag], route_class=Route)

    @router.post(
        f"/v1/{resource.kind}:batch",
        operation_id=f"batch{resource.plural}",
        summary=f"Make, replace and delete many {responses.plural(resource.label)} at once",
        responses={200: {"model": BatchResult}, **responses.problem_responses(404, 409, 412, 415)},
        openapi_extra=request_body(f"{resource.noun}Batch"),
    )
    async def write_batch(
        request: Request,
        caller: Annotated[Actor, Depends(needs("admin"))],
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Makes all changes as one revision: all are done, or none. Errors point to the operation."""
        # They are validated in a thread, because so many objects would hold up everything else.
        operations = await asyncio.to_thread(batch.read, resource, await request.json())
        repeat = await repetition(request, caller, idempotency_key)
        served = parts(request)
        editor = BatchEditor(served.store, served.editor.secret_fields, served.check_context_for)
        return responses.kept(await editor.run(resource, operations, caller, repeat, _answer))

    return router


def _answer(done: Done) -> StoredResponse:
    objects = [
        {"id": document_id, "etag": None if version is None else entity_tag(version)}
        for document_id, version in done.objects
    ]
    warnings = [doubt.as_json() for doubt in done.doubts]
    return responses.as_kept(JSONResponse({"revision": done.revision, "objects": objects, "warnings": warnings}))


def add_schemas(schemas: dict[str, Any]) -> None:
    """The bodies of batches, for the document."""
    schemas["BatchAction"] = {
        "type": "string",
        "enum": ["create", "replace", "delete"],
        "description": "What an operation of a batch does.",
    }
    id_text = "The object to replace or delete; create takes none."
    if_match_text = "The ETag of your last GET of it; * is whatever is there. replace and delete need it."
    for resource in BATCHED:
        schemas[f"{resource.noun}Operation"] = {
            "type": "object",
            "additionalProperties": False,
            "description": f"One operation of a batch: a {resource.label}.",
            "required": ["action"],
            "properties": {
                "action": {"$ref": f"{_SCHEMAS}BatchAction"},
                "id": {"type": "string", "description": id_text},
                "if_match": {"type": "string", "description": if_match_text, "examples": ["*"]},
                "object": {"$ref": f"{_SCHEMAS}{resource.noun}"},
            },
        }
        schemas[f"{resource.noun}Batch"] = {
            "type": "object",
            "additionalProperties": False,
            "description": f"Many changes of {responses.plural(resource.label)}, in any order.",
            "required": ["operations"],
            "properties": {
                "operations": {
                    "type": "array",
                    "items": {"$ref": f"{_SCHEMAS}{resource.noun}Operation"},
                    "maxItems": resource.most_in_batch,
                    "description": "The operations, each with its object.",
                }
            },
        }
