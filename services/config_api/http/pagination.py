"""Pages of lists. An opaque cursor says after which object the next page begins, and to which list and filters it
belongs (C152).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.config_api.problems import FieldError, Problem, invalid
from services.config_api.resources.fields import Decimal

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 1000
LONGEST_CURSOR = 4096

FilterText = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\u0000-\u001f\u007f]+$")]


class PageQuery(BaseModel):
    """The query parameters of a page."""

    model_config = ConfigDict(extra="forbid")

    limit: Decimal = Field(default=100, ge=1, le=1000, description="The most items of a page.")
    cursor: str | None = Field(default=None, max_length=4096, description="The next_cursor of the previous page.")


def encode(kind: str, filters: Mapping[str, str], after: str) -> str:
    raw = json.dumps([_list_of(kind, filters), after], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def decode(cursor: str, kind: str, filters: Mapping[str, str]) -> str:
    """Returns the position in a cursor after which the page begins. Raises Problem 422 for a cursor of another list or
    of other filters, or for any other text.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        of_list, after = json.loads(raw.decode("ascii"))
    except (ValueError, TypeError, RecursionError):
        raise bad_cursor() from None
    if of_list != _list_of(kind, filters) or not isinstance(after, str):
        raise bad_cursor()
    if not (after.isascii() and after.isprintable()):
        # NUL and a lone surrogate are not valid text for a database (C148).
        raise bad_cursor()
    return after


def page_token(kind: str, given: BaseModel) -> str:
    """Returns the page token of another service from the cursor of a query. The result is empty for the first page.

    Raises Problem 422 for a cursor of another list, or of other filters.
    """
    cursor: str | None = getattr(given, "cursor", None)
    return "" if cursor is None else decode(cursor, kind, _filters(given))


def next_cursor(kind: str, given: BaseModel, token: str) -> str | None:
    """Returns a cursor with another service's token for the next page, or None when this is the last page."""
    return encode(kind, _filters(given), token) if token else None


def _filters(given: BaseModel) -> dict[str, str]:
    return {"query": given.model_dump_json(exclude={"cursor", "limit"}, exclude_none=True)}


def bad_cursor() -> Problem:
    return invalid(
        [FieldError("/cursor", "cursor", "This cursor does not belong to this list with these filters.", "query")]
    )


def _list_of(kind: str, filters: Mapping[str, str]) -> str:
    text = json.dumps([kind, sorted(filters.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
