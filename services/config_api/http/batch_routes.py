"""The endpoints `POST /v1/{collection}:batch`, which make many changes of a collection at once."""

# This module has no postponed annotations, because FastAPI reads the types of parameters, and these types are made for
# each resource.

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from services.config_api.changes import batch
from services.config_api.changes.batch import BatchEditor, Done
from services.config_api.changes.entity_tags import entity_tag
from services.config_api.http import responses
from services.config_api.http.context import IdempotencyKey, app_context, needs, repetition
from services.config_api.http.parsed_body import Route
from services.config_api.http.resource_routes import request_body
from services.config_api.resources.catalogue import COLLECTIONS
from services.config_api.resources.description import Collection
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.revision import Actor

_SCHEMAS = "#/components/schemas/"
# API keys and webhooks have no batches, because their secrets are shown only once, in the answer to each creation.
BATCHED = tuple(each for each in COLLECTIONS if each.kind not in ("api-keys", "webhooks"))


class BatchedObject(responses.Answer):
    """The result for one object."""

    id: str = Field(description="Its id.")
    etag: str | None = Field(
        description="The ETag of the object after the batch. null means that it is deleted.", examples=['"42"']
    )


class BatchResult(responses.Answer):
    """The result of a batch."""

    revision: int = Field(
        description="The number of the newest revision after it. All changes of a batch are one revision.",
        json_schema_extra={"format": "int64"},
    )
    objects: list[BatchedObject] = Field(description="The results of the operations, in the same order.")
    warnings: list[responses.ConfigurationWarning] = Field(
        description=(
            "Warnings about the objects, and what still points to an object that is deleted, disabled or renamed. The"
            " pointers are into the request. Of very many objects not all are checked."
        )
    )


def batch_router(resource: Collection) -> APIRouter:
    """Makes the route for batches of one collection."""
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
        """Makes all changes as one revision. Either all are made, or none. Errors point to the operation."""
        # The bodies are validated in a thread, because many objects would block the event loop.
        operations = await asyncio.to_thread(batch.read, resource, await request.json())
        repeat = await repetition(request, caller, idempotency_key)
        served = app_context(request)
        editor = BatchEditor(served.store, served.editor.secret_fields, served.check_context_for)
        return responses.kept(await editor.run(resource, operations, caller, repeat, _answer))

    return router


def _answer(done: Done) -> StoredResponse:
    objects = [
        {"id": document_id, "etag": None if version is None else entity_tag(version)}
        for document_id, version in done.objects
    ]
    warnings = [warning.as_json() for warning in done.warnings_found]
    return responses.as_kept(JSONResponse({"revision": done.revision, "objects": objects, "warnings": warnings}))


def add_schemas(schemas: dict[str, Any]) -> None:
    """Adds the schemas of batch requests to the schemas of the OpenAPI document."""
    schemas["BatchAction"] = {
        "type": "string",
        "enum": ["create", "replace", "delete"],
        "description": "The action of an operation in a batch.",
    }
    id_text = "The id of the object to replace or delete. create has no id."
    if_match_text = "The ETag of the last GET of the object. * matches any version. replace and delete need it."
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
            "description": f"Many changes of {responses.plural(resource.label)}, of different objects.",
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
