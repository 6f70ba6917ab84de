"""Makes the endpoints of every resource from its description. One function is for singletons, the other for
collections.
"""

# This module has no postponed annotations, because FastAPI reads the types of parameters, and these types are made for
# each resource.

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model

from services.config_api.changes.editor import Changed, Preconditions, time_text
from services.config_api.changes.entity_tags import not_modified
from services.config_api.http import pagination, responses
from services.config_api.http.context import IdempotencyKey, app_context, needs, repetition
from services.config_api.http.parsed_body import Route
from services.config_api.problems import FieldError, invalid, not_found
from services.config_api.resources.description import Body as StoredBody
from services.config_api.resources.description import Collection, Resource, Singleton, shown_body
from services.config_api.resources.fields import Decimal, Instant, microseconds
from services.config_api.resources.webhooks import WEBHOOKS
from services.config_api.storage.documents import Document
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.revision import Actor

MERGE_PATCH = "application/merge-patch+json"
_ID = re.compile(r"[0-9a-f-]{1,64}")

Reader = Annotated[Actor, Depends(needs("reader"))]
Admin = Annotated[Actor, Depends(needs("admin"))]
IfMatch = Annotated[
    str | None,
    Header(description="The ETag of the last GET. * matches any version. Without this header the answer is 428."),
]
IfNoneMatch = Annotated[str | None, Header(description="`*` means that the object must not exist.")]
IfNoneMatchGet = Annotated[str | None, Header(description="The answer is 304 when this is still the version.")]


def singleton_router(resource: Singleton) -> APIRouter:
    """Makes GET, PUT and PATCH of /v1/settings/…"""
    router = APIRouter(tags=[resource.tag], route_class=Route)
    path = f"/v1/{resource.kind}"
    shown: dict[int | str, dict[str, Any]] = {
        200: {"model": responses.shown_model(resource.kind), "headers": responses.ETAG_HEADER}
    }

    @router.get(
        path,
        operation_id=f"get{resource.noun}",
        summary=f"The {resource.label}",
        description=f"Shows the {resource.label} with an ETag, which a change needs.",
        responses={**shown, 304: {"description": "Not changed."}, **responses.problem_responses()},
    )
    async def get(request: Request, _: Reader, if_none_match: IfNoneMatchGet = None) -> Response:
        document = await _document(request, resource, resource.kind)
        if not_modified(if_none_match, document.version):
            return Response(status_code=304, headers=responses.etag(document))
        return JSONResponse(shown_body(resource, document.body), headers=responses.etag(document))

    writes: dict[int | str, dict[str, Any]] = {**shown, **responses.problem_responses(412, 415, 428)}

    @router.put(
        path,
        operation_id=f"replace{resource.noun}",
        summary=f"Replace the {resource.label}",
        description=f"Replaces the {resource.label}. {_REPLACING}",
        responses=writes,
        openapi_extra=request_body(resource.noun),
    )
    async def put(
        request: Request, caller: Admin, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
    ) -> Response:
        conditions = Preconditions(if_match, if_none_match)
        body = await request.json()
        result = await app_context(request).editor.replace(resource, resource.kind, body, conditions, caller)
        return responses.changed(resource, result, {})

    @router.patch(
        path,
        operation_id=f"update{resource.noun}",
        summary=f"Change the {resource.label}",
        description=f"Changes the {resource.label}. {_PATCHING}",
        responses=writes,
        openapi_extra=request_body(f"{resource.noun}Patch", MERGE_PATCH),
    )
    async def update(
        request: Request, caller: Admin, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
    ) -> Response:
        conditions = Preconditions(if_match, if_none_match)
        patch = await request.json()
        result = await app_context(request).editor.update(resource, resource.kind, patch, conditions, caller)
        return responses.changed(resource, result, {})

    return router


_REPLACING = (
    "Members that are left out get their defaults. Secrets that are left out are kept. Read-only members are ignored."
)
_PATCHING = "Members that the merge patch (RFC 7396) does not contain are kept. null gives a member its default."


def request_body(schema: str, media_type: str = "application/json") -> dict[str, Any]:
    """Returns the description of an operation's body for the OpenAPI document. FastAPI cannot derive it, because the
    editor validates the JSON that the middleware has parsed.
    """
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": True, "content": content}}


def collection_router(resource: Collection) -> APIRouter:
    """Makes GET and POST of /v1/…, and GET, PUT, PATCH and DELETE of each object in it."""
    router = APIRouter(tags=[resource.tag], route_class=Route)
    path = f"/v1/{resource.kind}"
    shown = responses.shown_model(resource.kind)
    label, labels = resource.label, responses.plural(resource.label)
    query = _list_query(resource)
    reader = Admin if resource.kind == "api-keys" else Reader
    writes: dict[int | str, dict[str, Any]] = {
        200: {"model": shown, "headers": responses.ETAG_HEADER},
        **responses.problem_responses(404, 409, 412, 415, 428, noun=label),
    }

    @router.get(
        path,
        operation_id=f"list{resource.plural}",
        summary=f"List {labels}",
        description=f"Shows a page of the {labels} that match every filter.",
        responses={200: {"model": responses.page_model(resource)}, **responses.problem_responses()},
    )
    async def list_all(request: Request, _: reader, given: Annotated[query, Query()]) -> Response:  # type: ignore[valid-type]
        return await _page(request, resource, given)

    @router.post(
        path,
        status_code=201,
        operation_id=f"create{resource.noun}",
        summary=f"Make a new {label}",
        description=f"Makes a new {label} and shows it with its id and its ETag. Read-only members are ignored.",
        responses={
            201: {
                "links": _links(resource),
                "model": shown,
                "headers": {**responses.ETAG_HEADER, "Location": {}},
            },
            **responses.problem_responses(409, 415),
        },
        openapi_extra=request_body(resource.noun),
    )
    async def create(request: Request, caller: Admin, idempotency_key: IdempotencyKey = None) -> Response:
        return await _create(request, resource, caller, idempotency_key)

    @router.get(
        path + "/{id}",
        operation_id=f"get{resource.noun}",
        summary=f"One {label}",
        description=f"Shows one {label} with an ETag, which a change needs.",
        responses={
            200: {"model": shown, "headers": responses.ETAG_HEADER},
            304: {"description": "Not changed."},
            **responses.problem_responses(404, noun=label),
        },
    )
    async def get(request: Request, _: reader, id: str, if_none_match: IfNoneMatchGet = None) -> Response:  # type: ignore[valid-type]  # noqa: A002
        document = await _document(request, resource, id)
        # Counters do not change the version, so an object with counters is always sent.
        if not_modified(if_none_match, document.version) and resource.kind not in _UNCOUNTED:
            return Response(status_code=304, headers=responses.etag(document))
        extra = await _counted(request, resource, [document])
        return JSONResponse(responses.record(resource, document, extra[document.id]), headers=responses.etag(document))

    @router.put(
        path + "/{id}",
        operation_id=f"replace{resource.noun}",
        summary=f"Replace one {label}",
        description=f"Replaces one {label}. {_REPLACING}",
        responses=writes,
        openapi_extra=request_body(resource.noun),
    )
    async def put(
        request: Request,
        caller: Admin,
        id: str,  # noqa: A002
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        conditions = Preconditions(if_match, if_none_match)
        body = await request.json()
        result = await app_context(request).editor.replace(resource, _checked(resource, id), body, conditions, caller)
        return await _changed(request, resource, result)

    @router.patch(
        path + "/{id}",
        operation_id=f"update{resource.noun}",
        summary=f"Change one {label}",
        description=f"Changes one {label}. {_PATCHING}",
        responses=writes,
        openapi_extra=request_body(f"{resource.noun}Patch", MERGE_PATCH),
    )
    async def update(
        request: Request,
        caller: Admin,
        id: str,  # noqa: A002
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        conditions = Preconditions(if_match, if_none_match)
        patch = await request.json()
        result = await app_context(request).editor.update(resource, _checked(resource, id), patch, conditions, caller)
        return await _changed(request, resource, result)

    @router.delete(
        path + "/{id}",
        status_code=204,
        operation_id=f"delete{resource.noun}",
        summary=f"Remove one {label}",
        description=f"Removes one {label}. If other settings still refer to it, the answer is 200 and names them.",
        responses={
            200: {
                "model": responses.Removed,
                "description": "The object is removed, and other settings still refer to it.",
            },
            204: {"description": "Removed."},
            **responses.problem_responses(
                *(404, 412, 415, 428), *((409,) if resource.kind == "api-keys" else ()), noun=label
            ),
        },
    )
    async def delete(
        request: Request,
        caller: Admin,
        id: str,  # noqa: A002
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        conditions = Preconditions(if_match, if_none_match)
        findings = await app_context(request).editor.delete(resource, _checked(resource, id), conditions, caller)
        if resource.kind == "api-keys":
            app_context(request).access.changed(id, await app_context(request).store.newest())
        if findings:
            return JSONResponse({"warnings": [finding.as_json() for finding in findings]})
        return Response(status_code=204)

    return router


def _links(resource: Collection) -> dict[str, Any]:
    """Returns the links of the OpenAPI document that lead from the id of a new object to its operations."""
    return {
        operation: {"operationId": f"{operation}{resource.noun}", "parameters": {"path.id": "$response.body#/id"}}
        for operation in ("get", "replace", "update", "delete")
    }


async def _create(request: Request, resource: Collection, caller: Actor, key: str | None) -> Response:
    async def answer(result: Changed) -> StoredResponse:
        made = await _changed(request, resource, result, 201)
        location = f"/v1/{resource.kind}/{result.document.id}"
        # A new key or secret is shown only once. With `made_id`, only the id is stored for a repetition of the request.
        made_id = result.document.id if result.shown_once else None
        headers = {"ETag": made.headers["ETag"], "Location": location}
        return StoredResponse(201, bytes(made.body).decode(), headers, made_id)

    repeat = await repetition(request, caller, key)
    made = await app_context(request).editor.create(resource, await request.json(), caller, repeat, answer)
    if resource.kind == WEBHOOKS.kind:
        await app_context(request).events.dispatcher.begin(made.headers["Location"].rpartition("/")[2])
    return responses.kept(made)


# The counters that a new object has, by kind of object.
_UNCOUNTED: dict[str, StoredBody] = {
    "access-rules": {"hits": 0, "last_hit_at": None},
    "api-keys": {"last_used_at": None},
}


async def _counted(request: Request, resource: Collection, found: list[Document]) -> dict[str, StoredBody]:
    """Returns for each object, by id, the read-only members that are stored in other tables."""
    ids = [document.id for document in found]
    store = app_context(request).store
    if resource.kind == "access-rules":
        hits = await store.hits(ids)
        counted = {rule_id: (count, last) for rule_id, (count, last) in hits.items()}
        return {
            rule_id: {"hits": count, "last_hit_at": time_text(last) if last else None}
            for rule_id, (count, last) in ((i, counted.get(i, (0, None))) for i in ids)
        }
    if resource.kind == "api-keys":
        uses = {**await store.key_uses(ids), **app_context(request).access.uses}
        return {i: {"last_used_at": time_text(uses[i]) if i in uses else None} for i in ids}
    return {i: {} for i in ids}


async def _changed(request: Request, resource: Collection, result: Changed, status: int = 200) -> JSONResponse:
    if resource.kind == "api-keys":
        app_context(request).access.changed(result.document.id, result.document.version)
    if resource.kind in _UNCOUNTED and status != 201:
        extra = (await _counted(request, resource, [result.document]))[result.document.id]
    else:
        extra = _UNCOUNTED.get(resource.kind, {})
    return responses.changed(resource, result, extra, status)


async def _document(request: Request, resource: Resource, document_id: str) -> Document:
    document = await app_context(request).store.get(resource.kind, _checked(resource, document_id))
    if document is None:
        raise not_found(resource.label)
    return document


def _checked(resource: Resource, document_id: str) -> str:
    if document_id != resource.kind and not _ID.fullmatch(document_id):
        raise not_found(resource.label)
    return document_id


def _list_query(resource: Collection) -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (
            (Literal[of_field.choices] if of_field.choices else _FilterText) | None,
            Field(default=None, description=of_field.description),
        )
        for name, of_field in resource.filters.items()
    }
    limit = Field(
        default=pagination.DEFAULT_LIMIT, ge=1, le=pagination.LARGEST_LIMIT, description="The most objects of a page."
    )
    cursor = Field(
        default=None, max_length=pagination.LONGEST_CURSOR, description="The next_cursor of the previous page."
    )
    updated_after = Field(default=None, description="Only objects that were written after this time.")
    with_total = Field(default=False, description="Whether the answer has `total`. Counting takes time.")
    return create_model(
        f"{resource.noun}Query",
        __config__=ConfigDict(extra="forbid"),
        limit=(Decimal, limit),
        cursor=(str | None, cursor),
        updated_after=(Instant | None, updated_after),
        with_total=(bool, with_total),
        **fields,
    )


_FilterText = Annotated[str, Field(min_length=1, max_length=512)]


async def _page(request: Request, resource: Collection, given: Any) -> Response:
    filters: dict[str, str] = {}
    for name, of_field in resource.filters.items():
        text = getattr(given, name)
        if text is not None:
            filters[name] = _canonical_filter(name, of_field.canonical, text)
    store = app_context(request).store
    since = None if given.updated_after is None else microseconds(given.updated_after)
    bound = filters if since is None else {**filters, "updated_after": str(since)}
    after = None if given.cursor is None else pagination.decode(given.cursor, resource.kind, bound)
    documents = list(await store.page(resource.kind, filters, after, given.limit + 1, since))
    more = len(documents) > given.limit
    documents = documents[: given.limit]
    extra = await _counted(request, resource, documents)
    items = [responses.record(resource, document, extra[document.id]) for document in documents]
    cursor = pagination.encode(resource.kind, bound, documents[-1].id) if more else None
    total = await store.count(resource.kind, filters, since) if given.with_total else None
    return JSONResponse({"items": items, "next_cursor": cursor, "total": total})


def _canonical_filter(name: str, canonical: Any, text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise invalid([FieldError(f"/{name}", "text", "It holds characters that no value has.", "query")])
    try:
        canonical_text: str = canonical(text)
    except ValueError as error:
        raise invalid([FieldError(f"/{name}", "filter", str(error), "query")]) from None
    return canonical_text
