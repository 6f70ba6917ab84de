"""What the API's refusals become: one exception with the members of a problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

_PREFIX = "urn:posthouse:problem:"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field at fault: body, query, path or header; its JSON pointer there; a constant code; a sentence."""

    location: str
    pointer: str
    code: str
    detail: str


class ProblemError(Exception):
    """The API refused a request.

    `status`: the HTTP status, 300 to 599. `code`: the kind of problem, a constant name, for example `conflict`; empty
    where the answer is of something that stands before the API. `errors`: the fields at fault.
    `retry_after`: seconds after which the server wants to be asked again, or None.
    `members`: every member of the problem document, also those that a newer release added.
    """

    def __init__(self, status: int, members: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self.status = status
        self.members = members
        self.headers = headers
        self.code = str(members.get("type") or "").removeprefix(_PREFIX)
        self.title = str(members.get("title") or f"The answer has status {status}.")
        self.detail = str(members.get("detail") or "")
        self.errors = tuple(
            FieldProblem(
                location=str(error.get("location") or ""),
                pointer=str(error.get("pointer") or ""),
                code=str(error.get("code") or ""),
                detail=str(error.get("detail") or ""),
            )
            for error in members.get("errors") or ()
            if isinstance(error, Mapping)
        )
        super().__init__(self.sentence())

    @property
    def request_id(self) -> str:
        """By which the service's log knows the request; empty where the answer has none."""
        return self.headers.get("x-request-id", "")

    @property
    def retry_after(self) -> float | None:
        value = self.headers.get("retry-after", "")
        return float(value) if value.isdecimal() else None

    def sentence(self) -> str:
        """The whole problem in one line."""
        parts = [self.title, self.detail]
        parts += [f"{error.pointer}: {error.detail}" if error.pointer else error.detail for error in self.errors]
        return " ".join(part for part in parts if part)


def refusal(response: httpx.Response) -> ProblemError:
    """The exception for an answer that is not the one that was asked for."""
    try:
        members = response.json()
    except ValueError:
        members = None
    return ProblemError(response.status_code, members if isinstance(members, Mapping) else {}, response.headers)
