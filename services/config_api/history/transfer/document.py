"""Converts the whole configuration to a document for an export, and reads the objects of a document for an import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, create_model

from services.config_api.http.responses import shown_model
from services.config_api.migrations.older_defaults import (
    with_named_recipients,
    without_followed_tls,
    without_recipients_over_limit,
)
from services.config_api.problems import FieldError, from_pydantic, invalid, malformed
from services.config_api.resources.catalogue import COLLECTIONS, SINGLETONS
from services.config_api.resources.defaults import without_derived
from services.config_api.resources.delivery import DELIVERY
from services.config_api.resources.description import (
    Body,
    Collection,
    Resource,
    Singleton,
    shown_body,
    without_read_only,
)
from services.config_api.resources.fields import Model
from services.config_api.resources.general import GENERAL
from services.config_api.resources.relay_domains import RELAY_DOMAINS
from services.config_api.resources.relay_rules import RELAY_RULES
from services.config_api.resources.tls_policies import TLS_POLICIES
from services.config_api.storage.documents import Document

FORMAT = "posthouse/2"
# The format of earlier releases. The names of its members have hyphens, and it contains all defaults of that time, even
# those that nobody had set.
OLDER_FORMAT = "posthouse/1"
PORTABLE: tuple[Collection, ...] = tuple(collection for collection in COLLECTIONS if collection.portable)
# Collections that documents of earlier releases lack. In an import, a missing member means that the collection is
# empty.
LATER: tuple[Collection, ...] = (TLS_POLICIES,)
_SETTINGS = "settings/"
_MOST_ERRORS = 50

ItemId = Annotated[
    str | None,
    Field(default=None, pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description="The id is not changed."),
]


def _document_model() -> type[BaseModel]:
    settings: dict[str, Any] = {
        member_name(singleton.kind): (shown_model(singleton.kind), Field(description=f"The {singleton.label}."))
        for singleton in SINGLETONS
    }
    lists: dict[str, Any] = {
        member_name(collection.kind): (
            list[shown_model(collection.kind)],  # type: ignore[misc]
            _listed(collection),
        )
        for collection in PORTABLE
    }
    everything = create_model("AllSettings", __base__=Model, __doc__="Every singleton.", **settings)
    fields: dict[str, Any] = {
        "format": (
            Literal["posthouse/2"],
            Field(
                description="The format of the document. An import also accepts posthouse/1, which was used before "
                "the first release."
            ),
        ),
        "settings": (everything, Field(description="Every singleton.")),
        **lists,
    }
    return create_model(
        "ConfigurationDocument",
        __base__=Model,
        __doc__="The whole configuration, without API keys, secrets and listed recipients. An import removes objects "
        "that the document does not contain.",
        **fields,
    )


def _listed(collection: Collection) -> Any:
    """Returns the field of the document's model that contains a collection."""
    described = f"Every {collection.label}. An id that is given is kept."
    if collection in LATER:
        return Field(default=[], description=f"{described} A document without this member has none.")
    return Field(description=described)


def member_name(kind: str) -> str:
    """Returns the name that the member for a resource has in the document."""
    return kind.removeprefix(_SETTINGS).replace("-", "_")


ConfigurationDocument = _document_model()


@dataclass(frozen=True, slots=True)
class Item:
    """One validated object of an import."""

    resource: Resource
    pointer: str
    # The id that the client gave, or None. The id of a singleton is its kind.
    id: str | None
    model: BaseModel
    given: Mapping[str, Any] = field(repr=False)


def export(documents: Mapping[str, list[Document]]) -> Body:
    """Returns the document with all portable objects, in a fixed order. Members that are not set and whose values
    follow from other members are left out, so that these values also follow from them after an import.
    """
    settings = {
        member_name(singleton.kind): _exported(singleton, documents[singleton.kind][0]) for singleton in SINGLETONS
    }
    lists = {
        member_name(collection.kind): [
            {"id": document.id, **_exported(collection, document)} for document in documents[collection.kind]
        ]
        for collection in PORTABLE
    }
    return {"format": FORMAT, "settings": settings, **lists}


def _exported(resource: Resource, document: Document) -> Body:
    return without_derived(resource, shown_body(resource, document.body), document.stored)


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the configuration that an import replaces."""

    singletons: tuple[Singleton, ...] = tuple(SINGLETONS)
    collections: tuple[Collection, ...] = PORTABLE

    @property
    def kinds(self) -> list[str]:
        return [resource.kind for resource in (*self.singletons, *self.collections)]

    @property
    def sections(self) -> set[str]:
        """Returns the names of the members that a document must have."""
        collections = {member_name(collection.kind) for collection in self.collections if collection not in LATER}
        return collections | {"settings"} if self.singletons else collections


def scope_of(only: str | None) -> Scope:
    """Returns the scope for a list of section names, which commas separate. For None, the scope is everything. Raises
    Problem 422.
    """
    if only is None:
        return Scope()
    names = {name.strip() for name in only.split(",")}
    known_names = {member_name(collection.kind) for collection in PORTABLE} | {"settings"}
    if names - known_names:
        detail = f"This must be a list of {', '.join(sorted(known_names))}."
        raise invalid([FieldError("/only", "not_one_of", detail, "query")])
    return Scope(
        tuple(SINGLETONS) if "settings" in names else (),
        tuple(collection for collection in PORTABLE if member_name(collection.kind) in names),
    )


def read(content: Any, scope: Scope) -> list[Item]:
    """Returns the objects of a document. Raises Problem 400 when the document is not an object, and 422 with pointers
    to the faults, of which at most _MOST_ERRORS are listed.

    The document must have every section that the import replaces, because the objects of a missing section would be
    removed. Only the sections in LATER may be missing. Sections that the import does not replace are ignored.
    """
    if not isinstance(content, dict):
        raise malformed("The body must be an object.")
    is_older = content.get("format") == OLDER_FORMAT
    if is_older:
        content = _with_underscores(content)
    settings = content.get("settings") if scope.singletons else None
    errors = _shape(content, settings, scope)
    items: list[Item] = []
    for singleton in scope.singletons if isinstance(settings, dict) else ():
        name = member_name(singleton.kind)
        if name in settings:  # type: ignore[operator]
            given = _without_old_defaults(singleton, settings[name]) if is_older else settings[name]  # type: ignore[index]
            _validate(singleton, given, f"/settings/{name}", singleton.kind, items, errors)
    for collection in scope.collections:
        name = member_name(collection.kind)
        listed = content.get(name)
        for number, entry in enumerate(listed if isinstance(listed, list) else ()):
            pointer = f"/{name}/{number}"
            given, item_id = _without_id(entry, pointer, errors)
            given = _without_old_defaults(collection, given) if is_older else given
            _validate(collection, given, pointer, item_id, items, errors)
            if len(errors) > _MOST_ERRORS:
                raise invalid(errors[:_MOST_ERRORS])
    if errors:
        raise invalid(errors[:_MOST_ERRORS])
    return items


def _with_underscores(content: dict[str, Any]) -> dict[str, Any]:
    """Returns a document of the older format with the present names of members."""
    settings = content.get("settings")
    if isinstance(settings, dict):
        content = {**content, "settings": {str(name).replace("-", "_"): body for name, body in settings.items()}}
    return {str(name).replace("-", "_"): member for name, member in content.items()}


def _without_old_defaults(resource: Resource, given: Any) -> Any:
    if resource is GENERAL:
        return without_recipients_over_limit(given)
    if resource is RELAY_DOMAINS:
        return with_named_recipients(given)
    return without_followed_tls(given) if resource in (DELIVERY, RELAY_RULES) else given


def _shape(content: dict[str, Any], settings: Any, scope: Scope) -> list[FieldError]:
    errors = []
    if content.get("format") not in (FORMAT, OLDER_FORMAT):
        errors.append(FieldError("/format", "format", f"It must be {FORMAT}."))
    lists = {member_name(collection.kind) for collection in scope.collections}
    known_members = {"format", "settings", *(member_name(collection.kind) for collection in PORTABLE)}
    errors += _members(content, {"format", *scope.sections}, known_members, "")
    errors += [
        FieldError(f"/{kind}", "wrong_type", "It must be a list.")
        for kind in sorted(lists)
        if kind in content and not isinstance(content[kind], list)
    ]
    if isinstance(settings, dict):
        singletons = {member_name(singleton.kind) for singleton in SINGLETONS}
        errors += _members(settings, singletons, singletons, "/settings")
    elif scope.singletons and "settings" in content:
        errors.append(FieldError("/settings", "wrong_type", "It must be an object."))
    return errors


def _members(found: dict[Any, Any], wanted: set[str], known: set[str], pointer: str) -> list[FieldError]:
    missing = [FieldError(f"{pointer}/{name}", "missing", "It is needed.") for name in sorted(wanted - found.keys())]
    if found.keys() - known:
        missing.append(FieldError(pointer, "unknown_member", "There are unknown members."))
    return missing


def _without_id(entry: Any, pointer: str, errors: list[FieldError]) -> tuple[Any, str | None]:
    if not isinstance(entry, dict) or "id" not in entry:
        return entry, None
    item_id = entry["id"]
    try:
        _ID_MODEL.model_validate({"id": item_id})
    except ValidationError:
        errors.append(FieldError(f"{pointer}/id", "id", "It must be a UUID in lower case."))
        item_id = None
    return {name: value for name, value in entry.items() if name != "id"}, item_id


_ID_MODEL = create_model("ItemIdentity", __base__=Model, id=(ItemId, None))


def _validate(
    resource: Resource, given: Any, pointer: str, item_id: str | None, items: list[Item], errors: list[FieldError]
) -> None:
    given = without_read_only(resource, given)
    try:
        model = resource.model.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        problem = from_pydantic([dict(entry) for entry in found], given, where="body")
        errors.extend(FieldError(pointer + entry.pointer, entry.code, entry.detail) for entry in problem.errors)
        return
    items.append(Item(resource, pointer, item_id, model, given))
