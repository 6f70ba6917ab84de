"""The contents of the OpenAPI document: settings, collections with their operations, and their schemas. This module is
pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.console.forms.schema import ABSENT, Kind, Member, Schemas, in_words

_SETTINGS = re.compile(r"/v1/settings/([a-z0-9-]+)")
_COLLECTION = re.compile(r"/v1/([a-z0-9-]+)")
_SUCCESS = re.compile(r"2\d\d")
# The parameters of a list that are not filters.
_NOT_FILTERS = frozenset({"limit", "cursor", "with_total"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `body` and `query` describe the request, and `answer` the answer."""

    method: str
    path: str
    id: str
    title: str
    description: str
    role: str
    body: Member | None
    query: tuple[Member, ...]
    answer: Member | None

    @property
    def verb(self) -> str:
        """Returns the part of the path after the colon."""
        return self.path.rpartition(":")[2] if ":" in self.path else ""

    @property
    def filters(self) -> Member:
        """Returns the filters of a list as the members of a form."""
        chosen = tuple(member for member in self.query if member.name not in _NOT_FILTERS)
        return Member("", Kind.GROUP, required=True, members=chosen)


@dataclass(frozen=True, slots=True)
class Part:
    """A list that belongs to one object, for example the deliveries of a webhook."""

    name: str
    title: str
    list: Operation
    actions: tuple[Operation, ...]
    # The member of an entry that is used in the paths of its actions.
    key: str


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can be shown and changed: settings, or a collection of objects."""

    kind: str
    # The title of the resource, for example "Relay rules", and the name of one object, for example "relay rule".
    title: str
    singular: str
    tag: str
    description: str
    path: str
    body: Member
    get: Operation
    replace: Operation
    list: Operation | None = None
    create: Operation | None = None
    delete: Operation | None = None
    actions: tuple[Operation, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def is_collection(self) -> bool:
        return self.list is not None

    @property
    def role(self) -> str:
        """Returns the lowest role that may see the resource."""
        return self.get.role


class ApiDocument:
    """The document, which is read once."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self.schemas = Schemas(document)
        self._operations = list(self._read())
        self.resources = {resource.kind: resource for resource in (*self._settings(), *self._collections())}

    def operation(self, operation_id: str) -> Operation | None:
        """Returns the operation with this name, or None when this release of the API does not have it."""
        return next((operation for operation in self._operations if operation.id == operation_id), None)

    def _find(self, method: str, path: str) -> Operation | None:
        return next((each for each in self._operations if (each.method, each.path) == (method, path)), None)

    def _read(self) -> Iterator[Operation]:
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                if method in ("get", "post", "put", "delete") and "operationId" in operation:
                    yield self._operation(method.upper(), path, operation)

    def _operation(self, method: str, path: str, operation: Mapping[str, Any]) -> Operation:
        parameters = [self.schemas.resolve(parameter) for parameter in operation.get("parameters", ())]
        return Operation(
            method=method,
            path=path,
            id=operation["operationId"],
            title=operation.get("summary", ""),
            description=operation.get("description", "").partition("\n\nRole:")[0],
            role=operation.get("x-required-role", "admin"),
            body=self._body(operation),
            query=tuple(
                self.schemas.member(
                    parameter["name"],
                    {**parameter.get("schema", {}), "description": parameter.get("description", "")},
                    required=parameter.get("required", False),
                )
                for parameter in parameters
                if parameter.get("in") == "query"
            ),
            answer=self._answer(operation),
        )

    def _body(self, operation: Mapping[str, Any]) -> Member | None:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        return None if content is None else self.schemas.body(content.get("schema", {}))

    def _answer(self, operation: Mapping[str, Any]) -> Member | None:
        for status, answer in operation.get("responses", {}).items():
            content = self.schemas.resolve(answer).get("content", {}).get("application/json")
            if _SUCCESS.fullmatch(status) and content is not None:
                return self.schemas.body(content.get("schema", {}))
        return None

    def _tag(self, path: str) -> str:
        tags: list[str] = self._document["paths"][path]["get"].get("tags", [])
        return tags[0] if tags else ""

    def _settings(self) -> Iterator[Resource]:
        for path in self._document["paths"]:
            get, replace = self._find("GET", path), self._find("PUT", path)
            if (match := _SETTINGS.fullmatch(path)) and get and replace and replace.body:
                title = get.title.removeprefix("The ")
                yield Resource(
                    kind=f"settings/{match[1]}",
                    title=_capital(title),
                    singular=title,
                    tag=self._tag(path),
                    description=replace.body.description,
                    path=path,
                    body=replace.body,
                    get=get,
                    replace=replace,
                )

    def _collections(self) -> Iterator[Resource]:
        for path in self._document["paths"]:
            if not (match := _COLLECTION.fullmatch(path)):
                continue
            listed, create = self._find("GET", path), self._find("POST", path)
            one = f"{path}/{{id}}"
            get, replace, delete = (self._find(method, one) for method in ("GET", "PUT", "DELETE"))
            if listed and create and create.body and get and replace:
                yield Resource(
                    kind=match[1],
                    title=_capital(listed.title.removeprefix("List ")),
                    singular=get.title.removeprefix("One "),
                    tag=self._tag(path),
                    description=create.body.description,
                    path=path,
                    body=create.body,
                    get=get,
                    replace=replace,
                    list=listed,
                    create=create,
                    delete=delete,
                    actions=self._actions(f"{one}:"),
                    parts=tuple(self._parts(one)),
                )

    def _actions(self, begin: str) -> tuple[Operation, ...]:
        return tuple(
            operation
            for operation in self._operations
            if operation.method == "POST"
            and operation.path.startswith(begin)
            and "/" not in operation.path[len(begin) :]
        )

    def _parts(self, one: str) -> Iterator[Part]:
        for operation in self._operations:
            name = operation.path.removeprefix(f"{one}/")
            if operation.method != "GET" or not re.fullmatch("[a-z0-9-]+", name):
                continue
            acting = [
                other
                for other in self._operations
                if other.method == "POST" and re.fullmatch(re.escape(operation.path) + r"/\{\w+\}:[\w-]+", other.path)
            ]
            keys = {re.findall(r"\{(\w+)\}", other.path)[-1] for other in acting}
            if operation.answer is not None and len(keys) <= 1:
                yield Part(name, in_words(name), operation, tuple(acting), next(iter(keys), ""))


def columns(body: Member, most: int = 10) -> tuple[Member, ...]:
    """Returns the members of an object that a list shows: scalars and lists of scalars, required ones first."""
    shown = [
        member
        for member in body.members
        if member.kind not in (Kind.SECRET, Kind.GROUP, Kind.VARIANTS, Kind.ROWS, Kind.JSON)
        and member.name not in ("id", "created_at", "updated_at", "warnings")
    ]
    return tuple(sorted(shown, key=lambda member: (not member.required, member.read_only)))[:most]


def title_of(body: Member, record: Mapping[str, Any]) -> str:
    """Returns the members by which people name an object: its required scalars."""
    named = [
        str(record[member.name])
        for member in body.members
        if member.required
        and member.kind in (Kind.TEXT, Kind.LONG_TEXT, Kind.CHOICE, Kind.INTEGER)
        and record.get(member.name) not in (None, "")
    ]
    return " ".join(named) or str(record.get("id", ""))


def shown_once(record: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the members that only this answer has, for example a new key."""
    return {
        name: value
        for name, value in record.items()
        if name not in stored and name != "warnings" and value not in (None, "", ABSENT)
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
