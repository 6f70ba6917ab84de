"""A page with a list of the API and its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import Response
from posthouse_client import ProblemError

from services.console.forms.document import Operation, Part, Resource, columns, title_of
from services.console.forms.facts import Fact, fact, in_short
from services.console.forms.fields import Errors, fields_of
from services.console.forms.schema import ABSENT, Kind, Member
from services.console.forms.texts import child, from_texts
from services.console.page import Page
from services.console.pages.object_forms import EMPTY, address_of, for_the_form, path_of
from services.console.rendering import query

_ON_A_PAGE = 50
_SCALARS = (Kind.TEXT, Kind.LONG_TEXT, Kind.CHOICE, Kind.INTEGER)


async def list_page(
    page: Page, resource: Resource, operation: Operation, address: str, object_id: str = "", part: Part | None = None
) -> Response:
    """Returns the page of a list of objects, or of a list that belongs to an object."""
    found = await found_in(page, operation, address, object_id)
    body = resource.body if part is None else found["entry"]
    shown = [column for column in columns(body) if part is not None or not _is_in_title(column)]
    rows = [
        {
            "id": record.get("id", ""),
            "key": record.get(part.key, "") if part else "",
            "title": title_of(body, record),
            "facts": facts_of_columns(shown, record),
        }
        for record in found["items"]
    ]
    return page.show(
        "configured_list.html",
        422 if found["error"] else 200,
        resource=resource,
        part=part,
        title=resource.title if part is None else f"{part.title} of a {resource.singular}",
        description=resource.description if part is None else operation.description,
        object_address=address_of(resource, object_id),
        columns=shown,
        rows=rows,
        **found,
    )


async def found_in(page: Page, operation: Operation, address: str, object_id: str = "") -> dict[str, Any]:
    """Returns for a template the items of a list that match the filters in the query, and the form of its filters."""
    asked = page.request.query_params
    filters = operation.filters
    texts = {child("", member.name): [asked.get(member.name, "")] for member in filters.members}
    parsed = from_texts(filters, texts)
    chosen = {name: value for name, value in parsed.value.items() if value is not None and value != ""}
    error = ""
    found: dict[str, Any] = {"items": [], "next_cursor": None}
    counted = {"with_total": True} if any(member.name == "with_total" for member in operation.query) else {}
    try:
        found = await page.api.get(
            path_of(operation, object_id), limit=_ON_A_PAGE, cursor=asked.get("cursor", ""), **counted, **chosen
        )
    except ProblemError as problem:
        error = for_the_form(problem).sentence()
    again = {name: asked[name] for name in chosen}
    return {
        "address": address,
        "items": found["items"],
        "entry": _entry(operation),
        "filters": fields_of(filters, texts, Errors((), parsed.troubles)),
        "is_filtered": bool(chosen),
        "notes": [(name, value) for name, value in found.items() if name not in ("items", "next_cursor", "total")],
        "total": found.get("total"),
        "error": error,
        "next_page": query(address, **again, cursor=found["next_cursor"]) if found["next_cursor"] else "",
    }


def facts_of_columns(shown: Sequence[Member], record: Mapping[str, Any]) -> list[Fact]:
    """Returns the values of one row of a table."""
    return [in_short(fact(column, record.get(column.name, ABSENT))) for column in shown]


def _entry(operation: Operation) -> Member:
    """Returns the member of the schema that describes one item of a list."""
    items = next((each for each in (operation.answer or EMPTY).members if each.name == "items"), None)
    return items.item if items is not None and items.item is not None else EMPTY


def _is_in_title(column: Member) -> bool:
    return column.required and column.kind in _SCALARS
