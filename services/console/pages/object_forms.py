"""The pages of one object with its form: before its creation, as it is stored, after a change, and before its
removal.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from fastapi.responses import Response
from posthouse_client import ProblemError

from services.console.forms.document import Operation, Resource, title_of
from services.console.forms.facts import contrasts, facts_of
from services.console.forms.fields import Errors, fields_of
from services.console.forms.schema import ABSENT, Kind, Member
from services.console.forms.texts import Parsed, Texts, to_texts
from services.console.page import Page

# Stands for the schema of the answer when an operation has none.
EMPTY = Member("", Kind.GROUP)


def new_page(
    page: Page,
    resource: Resource,
    operation: Operation,
    texts: Texts,
    *,
    parsed: Parsed | None = None,
    problem: ProblemError | None = None,
) -> Response:
    """Shows the form of a new object."""
    errors = _errors(parsed, problem)
    fields = fields_of(resource.body, texts, errors)
    return page.show(
        "configured_new.html",
        problem.status if problem else 422 if errors.some else 200,
        resource=resource,
        operation=operation,
        fields=fields,
        problem=problem,
        errors=errors,
        once=uuid.uuid4().hex,
        back=address_of(resource, ""),
    )


def _errors(parsed: Parsed | None, problem: ProblemError | None) -> Errors:
    named = [(error.pointer, error.detail) for error in problem.errors] if problem else []
    return Errors(named, parsed.troubles if parsed else None)


async def object_page(
    page: Page,
    resource: Resource,
    object_id: str,
    *,
    texts: Texts | None = None,
    parsed: Parsed | None = None,
    problem: ProblemError | None = None,
    entity_tag: str = "",
    of_action: tuple[Operation, Texts, Parsed, ProblemError | None] | None = None,
) -> Response:
    """Shows an object with its form, with the stored or the sent values."""
    answer = await page.api.call("GET", path_of(resource.get, object_id))
    record = answer.json()
    stale = problem is not None and problem.status == 412
    errors = _errors(parsed, problem)
    shown = to_texts(resource.body, record) if texts is None else texts
    actions = []
    for operation in resource.actions:
        if page.may(operation.role):
            sent = of_action if of_action is not None and of_action[0] is operation else None
            actions.append(_action(operation, sent))
    failed = of_action is not None or errors.some or problem is not None
    return page.show(
        "configured_object.html",
        (problem.status if problem else 422) if failed else 200,
        resource=resource,
        title=title_in_full(resource, record),
        record=record,
        address=address_of(resource, object_id),
        back=address_of(resource, "") if resource.is_collection else "/configuration",
        facts=facts_of(resource.body, record, read_only=True),
        values=facts_of(resource.body, record, read_only=False),
        fields=fields_of(resource.body, shown, errors, is_new=False),
        errors=errors,
        problem=problem,
        stale=stale,
        contrasts=contrasts(parsed.value, record) if stale and parsed else (),
        # After a 412 the user has seen the stored values, and may replace them.
        etag=answer.headers["etag"] if stale or not entity_tag else entity_tag,
        may_change=page.may(resource.replace.role),
        may_delete=resource.delete is not None and page.may(resource.delete.role),
        actions=actions,
    )


def _action(operation: Operation, sent: tuple[Operation, Texts, Parsed, ProblemError | None] | None) -> dict[str, Any]:
    texts: Texts = {} if operation.body is None else to_texts(operation.body, ABSENT)
    errors, problem = Errors(), None
    if sent is not None:
        _, texts, parsed, problem = sent
        errors = _errors(parsed, problem)
    fields = () if operation.body is None else fields_of(operation.body, texts, errors)
    return {
        "operation": operation,
        "fields": fields,
        "problem": problem,
        "errors": errors,
        "once": uuid.uuid4().hex,
    }


def done_page(
    page: Page,
    resource: Resource,
    answer: httpx.Response,
    record: Mapping[str, Any],
    title: str,
    *,
    secrets: Mapping[str, Any] | None = None,
) -> Response:
    """Redirects to the object, or shows a page when there are warnings or values that are shown only once."""
    address = address_of(resource, str(record.get("id", "")))
    warnings = record.get("warnings") or []
    if not warnings and not secrets:
        return page.redirect(address, f"{title} {in_force(answer)}".strip())
    return page.show(
        "configured.html",
        resource=resource,
        title=title,
        in_force=in_force(answer),
        warnings=warnings,
        secrets=secrets or {},
        facts=(),
        back=address,
    )


async def confirmation_page(
    page: Page, resource: Resource, object_id: str, *, problem: ProblemError | None = None
) -> Response:
    """Shows the object that would be deleted."""
    answer = await page.api.call("GET", path_of(resource.get, object_id))
    record = answer.json()
    return page.show(
        "configured_delete.html",
        problem.status if problem else 200,
        resource=resource,
        title=title_in_full(resource, record),
        facts=facts_of(resource.body, record),
        problem=problem,
        etag=answer.headers["etag"],
        address=address_of(resource, object_id),
    )


def in_force(answer: httpx.Response) -> str:
    """Describes in words whether a change is in force."""
    header = answer.headers.get("posthouse-in-force", "")
    if header == "true":
        return "It is in force."
    if header:
        waiting = header.partition("waiting=")[2].replace(",", ", ")
        return f"It is stored, and not yet in force at: {waiting}."
    return ""


def for_the_form(problem: ProblemError) -> ProblemError:
    """Returns the problem if the user can correct it. Raises any other problem, for which the console shows another
    page.
    """
    if problem.status not in (400, 409, 412, 422):
        raise problem
    return problem


def title_in_full(resource: Resource, record: Mapping[str, Any]) -> str:
    if not resource.is_collection:
        return resource.title
    return f"{resource.singular[:1].upper()}{resource.singular[1:]} {title_of(resource.body, record)}"


def path_of(operation: Operation, object_id: str) -> str:
    return operation.path.replace("{id}", quote(object_id, safe=""))


def address_of(resource: Resource, object_id: str) -> str:
    """Returns the path at which the console shows the object or the settings."""
    own = f"/configuration/{resource.kind}"
    return f"{own}/{quote(object_id, safe='')}" if object_id else own


def entity_tag_of(page: Page) -> str:
    """Returns the ETag of the state from which the form was made, or one that matches no state when the form has no
    valid ETag.
    """
    entity_tag = page.form.get("etag")
    return entity_tag if re.fullmatch('"[0-9]{1,18}"', entity_tag) else '"0"'
