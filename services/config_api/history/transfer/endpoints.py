"""`/v1/config:export` and `/v1/config:import`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from services.config_api.history.revisions.endpoints import ObjectChange
from services.config_api.history.revisions.repository import Change
from services.config_api.history.transfer import yaml_text
from services.config_api.history.transfer.document import PORTABLE, ConfigurationDocument, Item, export, read
from services.config_api.history.transfer.importing import Importer
from services.config_api.http.context import DryRun, IdempotencyKey, needs, parts, repetition
from services.config_api.http.middleware import JSON_DEPTH
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import Answer, ConfigurationWarning, as_kept, kept, problem_responses
from services.config_api.problems import malformed
from services.config_api.resources.catalogue import SINGLETONS
from services.config_api.resources.description import Finding
from services.config_api.storage.documents import Document, every
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["configuration"], route_class=Route)

YAML = "application/yaml"
_SHOWN_CHANGES = 1000
_SCHEMA = {"$ref": "#/components/schemas/ConfigurationDocument"}


class ImportResult(Answer):
    """What an import changed, or with dry_run would change."""

    revision: int = Field(description="The newest revision after it.")
    made: int = Field(description="Objects that were not there.")
    changed: int = Field(description="Objects that were different.")
    removed: int = Field(description="Objects that the document does not have.")
    changes: list[ObjectChange] = Field(description="The first 1000 of them.")
    warnings: list[ConfigurationWarning] = Field(
        description="Doubts about the objects that are made or changed; pointers are into the document. They are "
        "looked for during a few seconds, and of many objects not in all."
    )


@router.get(
    "/v1/config:export",
    operation_id="exportConfiguration",
    summary="The whole configuration, API keys and secrets aside",
    responses={
        200: {"model": ConfigurationDocument, "content": {YAML: {"schema": _SCHEMA}}},
        **problem_responses(),
    },
)
async def export_configuration(
    request: Request,
    _: Annotated[Actor, Depends(needs("reader"))],
    format: Annotated[Literal["json", "yaml"], Query(description="How it is written.")] = "json",  # noqa: A002
) -> Response:
    """Writes every setting and object as one document, which an import takes."""
    kinds = [resource.kind for resource in (*SINGLETONS, *PORTABLE)]
    found: dict[str, list[Document]] = {kind: [] for kind in kinds}
    async with parts(request).store.database.reading() as connection:
        async for document in every(connection, kinds):
            found[document.kind].append(document)
    return await asyncio.to_thread(_written, found, format)


@router.post(
    "/v1/config:import",
    operation_id="importConfiguration",
    summary="Replace the whole configuration, API keys aside; secrets that are left out are kept",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _SCHEMA}, YAML: {"schema": _SCHEMA}},
        }
    },
    responses={200: {"model": ImportResult}, **problem_responses(409, 415)},
)
async def import_configuration(
    request: Request,
    caller: Annotated[Actor, Depends(needs("admin"))],
    dry_run: DryRun = False,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Makes the configuration what the document says, as one revision. What the document lacks is removed."""
    if "yaml" in request.headers.get("content-type", ""):
        items = await asyncio.to_thread(_read_yaml, await request.body())
    else:
        items = await asyncio.to_thread(read, await request.json())
    found = parts(request)
    importer = Importer(found.store, found.editor.secret_fields, found.check_context_for(""))
    repeat = None if dry_run else await repetition(request, caller, idempotency_key)
    return kept(await importer.run(items, caller, repeat, _imported, dry_run=dry_run))


def _imported(revision: int, changes: Sequence[Change], doubts: Sequence[Finding]) -> StoredResponse:
    counts = {"made": 0, "changed": 0, "removed": 0}
    for change in changes:
        counts["made" if change.before is None else "removed" if change.after is None else "changed"] += 1
    shown = [change.as_json() for change in changes[:_SHOWN_CHANGES]]
    warnings = [doubt.as_json() for doubt in doubts]
    return as_kept(JSONResponse({"revision": revision, **counts, "changes": shown, "warnings": warnings}))


def _written(found: dict[str, list[Document]], format: str) -> Response:  # noqa: A002
    content = export(found)
    if format == "yaml":
        return Response(yaml_text.dump(content), media_type=YAML)
    return JSONResponse(content)


def _read_yaml(body: bytes) -> list[Item]:
    """Raises Problem 400 and 422."""
    try:
        content = yaml_text.load(body.decode("utf-8"), JSON_DEPTH)
    except yaml_text.YamlError as error:
        raise malformed(str(error)) from None
    except (ValueError, RecursionError):
        raise malformed("The body can't be parsed.") from None
    return read(content)
