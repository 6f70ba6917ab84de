"""The errors of the API, as problem details (RFC 9457). They never repeat values that a client sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.config_api.error_codes import field_code

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:posthouse:problem:"
# The longest name of a field. A longer part of a location is content of the client, and not the name of a field.
_MEMBER_LIMIT = 64
_MOST_ERRORS = 50
# The key in the context of a pydantic error for the path to the faulty member, when a whole object was validated.
AT = "at"
# Our sentences for these codes, which replace the sentences of pydantic.
SENTENCES = {
    "missing": "This member is required.",
    "taken": "Another object has this value.",
    "unknown_member": "There is no such member.",
    "wrong_characters": "This contains characters that are not allowed here, or lacks some that are needed.",
    "not_unicode": "This is not Unicode text, because it contains a surrogate without its pair.",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One faulty field: a JSON pointer (RFC 6901) into body, query, path or header; a constant code; and a sentence."""

    pointer: str
    code: str
    detail: str
    where: str = "body"

    def as_json(self) -> dict[str, str]:
        return {"location": self.where, "pointer": self.pointer, "code": self.code, "detail": self.detail}


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An error with which the API answers a request. It contains no text of the client."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"type": _TYPE_PREFIX + self.code, "title": self.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = [error.as_json() for error in self.errors]
        return {**body, **self.more}


def invalid(errors: Sequence[FieldError], detail: str = "") -> Problem:
    return Problem(422, "invalid", "The request is not valid.", detail, errors=errors)


def invalid_field(pointer: str, code: str, detail: str) -> Problem:
    return invalid([FieldError(pointer, code, detail)])


def malformed(detail: str) -> Problem:
    return Problem(400, "malformed", "The request cannot be read.", detail)


def not_found(what: str) -> Problem:
    return Problem(404, "not-found", f"There is no such {what}.")


def conflict(errors: Sequence[FieldError]) -> Problem:
    return Problem(409, "conflict", "Another object already has this value.", errors=errors)


def nothing_done(detail: str) -> Problem:
    return Problem(409, "nothing-done", "Nothing was done.", detail)


def stale() -> Problem:
    return Problem(
        412,
        "precondition-failed",
        "The object has changed since you read it.",
        "If-Match does not name the current version: GET the object again, and repeat the change on its present state.",
    )


def precondition_required() -> Problem:
    return Problem(
        428,
        "precondition-required",
        "If-Match is required.",
        "Send the ETag of your last GET as If-Match, so that a change of somebody else is not overwritten.",
    )


def from_pydantic(errors: Iterable[Mapping[str, Any]], given: object, *, where: str = "") -> Problem:
    """Converts the errors of pydantic about `given`. The errors get our pointers, and contain no values of the client.
    `where` is the place of `given` in the request, such as body. When it is empty, the first part of each location is
    the place.
    """
    found = []
    for error in errors:
        location = [*error["loc"], *(error.get("ctx") or {}).get(AT, ())]
        place = where or str(location.pop(0))
        body = given if where or place == "body" else None
        code = field_code(str(error["type"]))
        found.append(FieldError(pointer(location, body), code, _sentence(code, error), place))
    return invalid(found[:_MOST_ERRORS])


def _sentence(code: str, error: Mapping[str, Any]) -> str:
    """Returns the sentence of an error: ours, if SENTENCES has one, and otherwise that of pydantic. It contains no
    value of the client.
    """
    if code in SENTENCES:
        return SENTENCES[code]
    if error["type"] == "union_tag_invalid":
        # For this type of error, the sentence of pydantic would contain the value (C156).
        return "{discriminator} must be one of {expected_tags}".format_map(error["ctx"])
    return str(error["msg"]).removeprefix("Value error, ")


def pointer(location: Sequence[str | int], body: object = None) -> str:
    """Returns the RFC 6901 pointer of a place in the body. The tags that pydantic adds for the members of a union are
    left out. The pointer ends before a member whose name cannot be the name of a field.
    """
    parts = []
    for number, part in enumerate(location):
        last = number == len(location) - 1
        if isinstance(body, dict) and part not in body and not last:
            continue
        body = _inside(body, part)
        text = str(part)
        if len(text) > _MEMBER_LIMIT or not text.isascii() or not text.isprintable():
            break
        parts.append(text.replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def _inside(body: object, part: str | int) -> object:
    if isinstance(body, dict):
        return body.get(part)
    if isinstance(body, list) and isinstance(part, int) and part < len(body):
        return body[part]
    return None
