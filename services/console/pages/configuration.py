"""The pages of all configured objects. Their forms and lists are made from the OpenAPI document."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from posthouse_client import ProblemError
from starlette.exceptions import HTTPException

from services.console.forms.document import Operation, Part, Resource, shown_once
from services.console.forms.facts import facts_of
from services.console.forms.schema import ABSENT
from services.console.forms.texts import Parsed, Texts, child, from_texts, to_texts, with_row, without_row
from services.console.navigation import Entry
from services.console.page import NotAllowedError, Page, needs
from services.console.pages.object_forms import (
    EMPTY,
    address_of,
    confirmation_page,
    done_page,
    entity_tag_of,
    for_the_form,
    in_force,
    new_page,
    object_page,
    path_of,
    title_in_full,
)
from services.console.pages.object_lists import list_page

ENTRIES = (
    Entry("Configuration", "/configuration"),
    Entry("API keys", "/configuration/api-keys", role="admin"),
    Entry("Webhooks", "/configuration/webhooks"),
)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]


@router.get("/configuration")
async def index(page: ReaderPage) -> Response:
    document = await page.document()
    groups: dict[str, list[Resource]] = {}
    for resource in document.resources.values():
        if page.may(resource.role):
            groups.setdefault(resource.tag, []).append(resource)
    return page.show("configuration.html", groups=groups)


@router.get("/configuration/settings/{name}")
async def show_settings(page: ReaderPage, name: str) -> Response:
    return await object_page(page, await _resource(page, f"settings/{name}"), "")


@router.post("/configuration/settings/{name}")
async def change_settings(page: ReaderPage, name: str) -> Response:
    return await _change(page, await _resource(page, f"settings/{name}"), "")


@router.get("/configuration/{kind}")
async def list_objects(page: ReaderPage, kind: str) -> Response:
    resource = await _resource(page, kind)
    return await list_page(page, resource, _needed(resource.list), f"/configuration/{kind}")


@router.get("/configuration/{kind}/new")
async def begin(page: ReaderPage, kind: str) -> Response:
    """Shows an empty form, with values from the query."""
    resource = await _resource(page, kind)
    create = _allowed(page, resource.create)
    texts = to_texts(resource.body, ABSENT)
    for name, value in page.request.query_params.items():
        if (of_member := child("", name)) in texts:
            texts[of_member] = [value]
    return new_page(page, resource, create, texts)


@router.post("/configuration/{kind}/new")
async def create(page: ReaderPage, kind: str) -> Response:
    resource = await _resource(page, kind)
    operation = _allowed(page, resource.create)
    texts = _texts(page)
    if (changed := _with_rows_changed(page, resource, texts)) is not None:
        return new_page(page, resource, operation, changed)
    parsed = from_texts(resource.body, texts)
    if parsed.troubles:
        return new_page(page, resource, operation, texts, parsed=parsed)
    try:
        answer = await page.api.call("POST", operation.path, body=parsed.value, headers=_repeatable(page))
    except ProblemError as problem:
        return new_page(page, resource, operation, texts, problem=for_the_form(problem))
    record = answer.json()
    path = f"{resource.path}/{quote(record['id'], safe='')}"
    secrets = shown_once(record, await page.api.get(path))
    return done_page(page, resource, answer, record, f"{title_in_full(resource, record)} was made.", secrets=secrets)


@router.get("/configuration/{kind}/{object_id}")
async def show_object(page: ReaderPage, kind: str, object_id: str) -> Response:
    return await object_page(page, await _resource(page, kind), object_id)


@router.post("/configuration/{kind}/{object_id}")
async def change_object(page: ReaderPage, kind: str, object_id: str) -> Response:
    return await _change(page, await _resource(page, kind), object_id)


@router.get("/configuration/{kind}/{object_id}/delete")
async def confirm_delete(page: ReaderPage, kind: str, object_id: str) -> Response:
    resource = await _resource(page, kind)
    _allowed(page, resource.delete)
    return await confirmation_page(page, resource, object_id)


@router.post("/configuration/{kind}/{object_id}/delete")
async def delete(page: ReaderPage, kind: str, object_id: str) -> Response:
    resource = await _resource(page, kind)
    operation = _allowed(page, resource.delete)
    try:
        answer = await page.api.call("DELETE", path_of(operation, object_id), headers={"If-Match": entity_tag_of(page)})
    except ProblemError as problem:
        return await confirmation_page(page, resource, object_id, problem=for_the_form(problem))
    warnings = answer.json()["warnings"] if answer.content else []
    if warnings:
        return page.show(
            "configured.html",
            resource=resource,
            title=f"The {resource.singular} was deleted",
            in_force=in_force(answer),
            warnings=warnings,
            secrets={},
            facts=(),
            back=address_of(resource, ""),
        )
    return page.redirect(address_of(resource, ""), f"The {resource.singular} was deleted. {in_force(answer)}")


@router.post("/configuration/{kind}/{object_id}/do/{verb}")
async def act(page: ReaderPage, kind: str, object_id: str, verb: str) -> Response:
    """Carries out an action of the API for an object, for example the rotation of a key."""
    resource = await _resource(page, kind)
    operation = _allowed(page, next((each for each in resource.actions if each.verb == verb), None))
    body = None
    if operation.body is not None:
        texts = _texts(page)
        parsed = from_texts(operation.body, texts)
        if parsed.troubles:
            return await object_page(page, resource, object_id, of_action=(operation, texts, parsed, None))
        body = parsed.value
    try:
        answer = await page.api.call("POST", path_of(operation, object_id), body=body, headers=_repeatable(page))
    except ProblemError as problem:
        problem = for_the_form(problem)
        return await object_page(page, resource, object_id, of_action=(operation, _texts(page), Parsed(), problem))
    record = answer.json()
    about_object = record.get("id") == object_id
    stored = await page.api.get(path_of(resource.get, object_id)) if about_object else record
    return page.show(
        "configured.html",
        resource=resource,
        title=f"Done: {operation.title}",
        in_force=in_force(answer),
        warnings=record.get("warnings") or [],
        secrets=shown_once(record, stored),
        facts=() if about_object or operation.answer is None else facts_of(operation.answer, record),
        back=address_of(resource, object_id),
    )


@router.get("/configuration/{kind}/{object_id}/{part_name}")
async def list_part(page: ReaderPage, kind: str, object_id: str, part_name: str) -> Response:
    """Shows a list that belongs to an object, for example the deliveries of a webhook."""
    resource = await _resource(page, kind)
    part = _part(resource, part_name)
    return await list_page(page, resource, part.list, f"{address_of(resource, object_id)}/{part_name}", object_id, part)


@router.post("/configuration/{kind}/{object_id}/{part_name}/do/{verb}")
async def act_on_part(page: ReaderPage, kind: str, object_id: str, part_name: str, verb: str) -> Response:
    resource = await _resource(page, kind)
    part = _part(resource, part_name)
    operation = _allowed(page, next((each for each in part.actions if each.verb == verb), None))
    path = path_of(operation, object_id).replace(f"{{{part.key}}}", quote(page.form.get("key"), safe=""))
    answer = await page.api.post(path)
    said = "; ".join(
        f"{each.label.lower()}: {each.text}" for each in facts_of(_needed(operation).answer or EMPTY, answer)
    )
    return page.redirect(f"{address_of(resource, object_id)}/{part_name}", f"Done. {said}")


async def _resource(page: Page, kind: str) -> Resource:
    """Returns the resource of a kind. Raises HTTPException 404 when it is unknown, and NotAllowedError."""
    resource = (await page.document()).resources.get(kind)
    if resource is None:
        raise HTTPException(404)
    if not page.may(resource.role):
        raise NotAllowedError
    return resource


def _needed(operation: Operation | None) -> Operation:
    """Returns the operation, or raises HTTPException 404 when the API does not have it."""
    if operation is None:
        raise HTTPException(404)
    return operation


def _allowed(page: Page, operation: Operation | None) -> Operation:
    """Returns the operation when the user may use it. Raises HTTPException 404 or NotAllowedError."""
    if not page.may(_needed(operation).role):
        raise NotAllowedError
    return _needed(operation)


def _part(resource: Resource, name: str) -> Part:
    found = next((part for part in resource.parts if part.name == name), None)
    if found is None:
        raise HTTPException(404)
    return found


def _texts(page: Page) -> dict[str, list[str]]:
    """Returns the fields of the schema. Other fields of the page have names without a slash at the beginning."""
    texts: dict[str, list[str]] = {}
    for name, value in page.form.fields:
        if name.startswith("/"):
            texts.setdefault(name, []).append(value)
    return texts


def _with_rows_changed(page: Page, resource: Resource, texts: Texts) -> dict[str, list[str]] | None:
    """Returns the texts with one more or one less row, if this was requested, and otherwise None. A form with such a
    request is not sent to the API.
    """
    if name := page.form.get("add"):
        return with_row(resource.body, texts, name)
    if name := page.form.get("remove"):
        around, _, row = name.rpartition("/")
        return without_row(texts, around, row)
    return None


def _repeatable(page: Page) -> dict[str, str]:
    """Returns an Idempotency-Key, so that a form that is sent twice is carried out once."""
    key = page.form.get("once")
    return {"Idempotency-Key": key} if key.isascii() and key.isalnum() else {}


async def _change(page: Page, resource: Resource, object_id: str) -> Response:
    operation = _allowed(page, resource.replace)
    entity_tag = entity_tag_of(page)
    texts = _texts(page)
    if (changed := _with_rows_changed(page, resource, texts)) is not None:
        return await object_page(page, resource, object_id, texts=changed, entity_tag=entity_tag)
    parsed = from_texts(resource.body, texts)
    if parsed.troubles:
        return await object_page(page, resource, object_id, texts=texts, parsed=parsed, entity_tag=entity_tag)
    try:
        answer = await page.api.call(
            "PUT", path_of(operation, object_id), body=parsed.value, headers={"If-Match": entity_tag}
        )
    except ProblemError as problem:
        return await object_page(
            page,
            resource,
            object_id,
            texts=texts,
            parsed=parsed,
            problem=for_the_form(problem),
            entity_tag=entity_tag,
        )
    title = f"{title_in_full(resource, answer.json())} was saved."
    if answer.headers["etag"] == entity_tag:
        title = "Nothing was changed, because the configuration already has these values."
    return done_page(page, resource, answer, answer.json(), title)
