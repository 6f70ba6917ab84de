"""The endpoints `/v1/config:export` and `/v1/config:import`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from services.config_api.changes.entity_tags import entity_tag, not_modified
from services.config_api.history.revisions.endpoints import ObjectChange
from services.config_api.history.revisions.repository import Change
from services.config_api.history.transfer import yaml_text
from services.config_api.history.transfer.document import (
    PORTABLE,
    ConfigurationDocument,
    Item,
    Scope,
    export,
    read,
    scope_of,
)
from services.config_api.history.transfer.importing import Importer
from services.config_api.http.context import DryRun, IdempotencyKey, app_context, needs, repetition
from services.config_api.http.middleware import JSON_DEPTH
from services.config_api.http.parsed_body import Route
from services.config_api.http.resource_routes import IfMatch, IfNoneMatchGet
from services.config_api.http.responses import (
    ETAG_HEADER,
    Answer,
    ConfigurationWarning,
    as_kept,
    kept,
    problem_responses,
)
from services.config_api.problems import malformed
from services.config_api.resources.catalogue import SINGLETONS
from services.config_api.resources.description import Finding
from services.config_api.storage.documents import Document, every, newest_revision
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["configuration"], route_class=Route)

YAML = "application/yaml"
_SHOWN_CHANGES = 1000
_SCHEMA = {"$ref": "#/components/schemas/ConfigurationDocument"}


class ImportResult(Answer):
    """The changes that an import made, or would make with dry_run."""

    revision: int = Field(description="The number of the newest revision after it.")
    made: int = Field(description="The number of objects that were added.")
    changed: int = Field(description="The number of objects that were changed.")
    removed: int = Field(
        description="The number of objects that were removed, because the document does not have them."
    )
    changes: list[ObjectChange] = Field(description="The first 1000 of the changes.")
    warnings: list[ConfigurationWarning] = Field(
        description="Warnings about the objects that are made or changed. The pointers are into the document. The "
        "search takes only a few seconds, so it may not cover all of very many objects."
    )


@router.get(
    "/v1/config:export",
    operation_id="exportConfiguration",
    summary="Export the whole configuration, without API keys and secrets",
    responses={
        200: {"model": ConfigurationDocument, "content": {YAML: {"schema": _SCHEMA}}, "headers": ETAG_HEADER},
        304: {"description": "Not changed."},
        **problem_responses(),
    },
)
async def export_configuration(
    request: Request,
    _: Annotated[Actor, Depends(needs("reader"))],
    format: Annotated[Literal["json", "yaml"], Query(description="The format of the text.")] = "json",  # noqa: A002
    if_none_match: IfNoneMatchGet = None,
) -> Response:
    """Returns every setting and object as one document, which an import accepts."""
    kinds = [resource.kind for resource in (*SINGLETONS, *PORTABLE)]
    by_kind: dict[str, list[Document]] = {kind: [] for kind in kinds}
    async with app_context(request).store.database.reading() as connection:
        newest = await newest_revision(connection)
        headers = {"ETag": entity_tag(newest)}
        if not_modified(if_none_match, newest):
            return Response(status_code=304, headers=headers)
        async for document in every(connection, kinds):
            by_kind[document.kind].append(document)
    return await asyncio.to_thread(_written, by_kind, format, headers)


@router.post(
    "/v1/config:import",
    operation_id="importConfiguration",
    summary="Replace the whole configuration, except API keys",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _SCHEMA}, YAML: {"schema": _SCHEMA}},
        }
    },
    responses={200: {"model": ImportResult, "headers": ETAG_HEADER}, **problem_responses(409, 412, 415, 428)},
)
async def import_configuration(
    request: Request,
    caller: Annotated[Actor, Depends(needs("admin"))],
    dry_run: DryRun = False,
    only: Annotated[
        str | None,
        Query(
            max_length=1000,
            description="The sections that the import replaces, separated by commas: collections, or settings.",
            examples=["accounts,aliases"],
        ),
    ] = None,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Replaces the configuration by the document, as one revision. Objects that the document does not contain are
    removed. Secrets that it does not contain are kept. With `only`, the import replaces these sections only. If-Match
    must be the ETag of an export or of a dry run. A dry run needs no If-Match.
    """
    scope = scope_of(only)
    if "yaml" in request.headers.get("content-type", ""):
        items = await asyncio.to_thread(_read_yaml, await request.body(), scope)
    else:
        items = await asyncio.to_thread(read, await request.json(), scope)
    context = app_context(request)
    importer = Importer(context.store, context.editor.secret_fields, context.check_context_for(""), scope)
    repeat = None if dry_run else await repetition(request, caller, idempotency_key)
    return kept(await importer.run(items, if_match, caller, repeat, _imported, dry_run=dry_run))


def _imported(revision: int, changes: Sequence[Change], warnings_found: Sequence[Finding]) -> StoredResponse:
    counts = {"made": 0, "changed": 0, "removed": 0}
    for change in changes:
        counts["made" if change.before is None else "removed" if change.after is None else "changed"] += 1
    shown = [change.as_json() for change in changes[:_SHOWN_CHANGES]]
    warnings = [warning.as_json() for warning in warnings_found]
    made = as_kept(JSONResponse({"revision": revision, **counts, "changes": shown, "warnings": warnings}))
    return replace(made, headers={"ETag": entity_tag(revision)})


def _written(found: dict[str, list[Document]], format: str, headers: dict[str, str]) -> Response:  # noqa: A002
    content = export(found)
    if format == "yaml":
        return Response(yaml_text.dump(content), media_type=YAML, headers=headers)
    return JSONResponse(content, headers=headers)


def _read_yaml(body: bytes, scope: Scope) -> list[Item]:
    """Returns the objects of a document in YAML. Raises Problem 400 and 422."""
    try:
        content = yaml_text.load(body.decode("utf-8"), JSON_DEPTH)
    except yaml_text.YamlError as error:
        raise malformed(str(error)) from None
    except (ValueError, RecursionError):
        raise malformed("The body cannot be parsed.") from None
    return read(content, scope)
