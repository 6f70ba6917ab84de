"""The description of resources, which endpoints, storage, import and snapshot read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from libs.smtp.network import IPNetwork

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Secret:
    """A member that is written but never shown.

    A stored one is kept where a client leaves it out, but not for every change of the object around it.
    """

    # Member names from the body's root.
    path: tuple[str, ...]
    kept_as: Literal["sealed", "argon2id"] = "sealed"
    # Another member with the hash of the secret, which is stored as it is.
    hash_path: tuple[str, ...] = ()
    # Needed where the object around it is present.
    required: bool = False
    # Given with a new object or never: it can't be changed.
    fixed: bool = False
    # It is kept only while these members stay as they are: a stored password never goes to another host.
    bound_to: tuple[tuple[str, ...], ...] = ()
    # How well the object protects it, from complete bodies; it is not kept where any of these becomes false (F42).
    protections: Callable[[Body], tuple[bool, ...]] = lambda _: ()

    @property
    def pointer(self) -> str:
        return "".join(f"/{name}" for name in self.path)

    def is_weakened(self, before: Body, after: Body) -> bool:
        """Whether complete body `after` protects the secret less than `before` did."""
        protections = zip(self.protections(before), self.protections(after), strict=True)
        return any(was and not is_now for was, is_now in protections)


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A value that one object alone may have, over all resources that use the scope."""

    scope: str
    value: str
    pointer: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something allowed that is likely a mistake."""

    pointer: str
    code: str
    detail: str

    def as_json(self) -> dict[str, str]:
        return {"pointer": self.pointer, "code": self.code, "detail": self.detail}


@dataclass(frozen=True, slots=True, order=True)
class MailHost:
    """One host of a domain's MX set."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class MailHosts:
    """A domain's MX as one set of name servers (empty: the system's) has it; None when there was no answer."""

    name_servers: tuple[str, ...]
    hosts: Sequence[MailHost] | None


class CheckContext(Protocol):
    """The questions that a check may ask about other objects and the world. Each is answered in bounded time."""

    async def settings(self, kind: str) -> Body:
        """A singleton's present body."""

    async def others(self, kind: str) -> Sequence[Body]:
        """The bodies of a collection, without the object that is being checked."""

    async def matching(self, kind: str, member: str, value: str) -> Sequence[Body]:
        """The bodies of a collection that the filter finds, up to 1,000, without the object that is being checked."""

    async def present(self, kind: str) -> Body | None:
        """The object that is being checked, as it is stored; None for a new one."""

    async def taken(self, scope: str, values: Sequence[str]) -> frozenset[str]:
        """The values that are unique keys of objects in the scope."""

    async def addresses(self, host: str, name_servers: Sequence[str] = ()) -> Sequence[str] | None:
        """A and AAAA of a name: empty when it has none, None when there was no answer."""

    async def listings(self, address: str, zone: str) -> Sequence[str] | None:
        """A records of an IPv4 address in a DNS block list (RFC 5782 2.1), likewise."""

    async def names(self, address: str) -> Sequence[str] | None:
        """PTR names of an address, likewise."""

    async def mail_hosts(self, domain: str) -> Sequence[MailHosts]:
        """A domain's MX by each set of name servers that relay domains are looked up in."""

    def is_maildir_allowed(self, path: str) -> bool:
        """Whether mail may be written to this folder of relay's machine."""

    @property
    def webhook_networks(self) -> Sequence[IPNetwork]:
        """Networks to which webhooks may lead, besides public addresses."""

    @property
    def own_addresses(self) -> frozenset[str]: ...

    @property
    def gateways(self) -> frozenset[str]: ...

    @property
    def own_ports(self) -> frozenset[int]:
        """The ports on which ingress listens."""


Check = Callable[[Body, CheckContext], Awaitable[Sequence[Finding]]]
MOST_MATCHES = 1000


async def no_findings(body: Body, check_context: CheckContext) -> Sequence[Finding]:  # noqa: ARG001
    return ()


@dataclass(frozen=True, slots=True)
class Resource:
    """Common to singletons and collections. `kind` is the path under /v1 and the key in storage."""

    kind: str
    # The noun in operationIds: get<Noun>, replace<Noun> …
    noun: str
    # In sentences: "relay rule".
    label: str
    tag: str
    model: type[BaseModel]
    secrets: tuple[Secret, ...] = ()
    # Raises Problem for what must not be.
    refuse: Check = no_findings
    # Finds what may be, but is likely a mistake.
    check: Check = no_findings

    @property
    def read_only(self) -> frozenset[str]:
        """Members that the service adds to what it shows; ignored in what clients write."""
        return frozenset({"warnings"})


@dataclass(frozen=True, slots=True)
class Singleton(Resource):
    """Settings of which there is one; always there."""

    # The body in a new database.
    initial: Callable[[], Body] = dict


@dataclass(frozen=True, slots=True)
class Created:
    """The members that the service adds to a new object: hidden ones to store, and ones that only this answer shows."""

    hidden: Body = field(default_factory=dict)
    shown_once: Body = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Collection(Resource):
    """Settings of which there are many, each with an id."""

    plural: str = ""
    # The unique keys of an object besides its id. An import finds its objects by them.
    unique: Callable[[Body], Iterable[UniqueKey]] = lambda _: ()
    # Query parameters of the list, each with the values that an object answers to.
    filters: Mapping[str, Filter] = field(default_factory=dict)
    # Members that the service makes; stored, never written by clients.
    hidden: tuple[str, ...] = ()
    create: Callable[[BaseModel], Awaitable[Created]] | None = None
    # Read-only members of an answer, and their making from the stored body.
    shown: type[BaseModel] | None = None
    show: Callable[[Body], Body] | None = None
    # Members that stay as they were made.
    fixed: tuple[str, ...] = ()
    # Part of export, import and rollback; API keys are not.
    portable: bool = True
    # Operations in one batch, at most.
    most_in_batch: int = 5_000
    # Finds what still points to an object that is removed or disabled.
    references: Check = no_findings
    # What a change takes from an object that others may point to, as a body for `references`; None: nothing.
    lost: Callable[[Body, Body], Body | None] = lambda _before, _after: None

    @property
    def read_only(self) -> frozenset[str]:
        shown = self.shown.model_fields if self.shown is not None else ()
        return frozenset({"warnings", "id", "created_at", "updated_at", *shown})


@dataclass(frozen=True, slots=True)
class Filter:
    """`terms`: the canonical values an object has; `canonical`: of a parameter (raises ValueError)."""

    description: str
    terms: Callable[[Body], Iterable[str]]
    canonical: Callable[[str], str] = str
    choices: tuple[str, ...] = ()


def member(body: Any, path: Sequence[str]) -> Any:
    """The value at a path of member names; None where there is none."""
    for name in path:
        if not isinstance(body, dict):
            return None
        body = body.get(name)
    return body


_MOST_NAMED = 50


def named(code: str, sentence: str, names: Sequence[str], pointer: str = "") -> list[Finding]:
    """A finding for each name, which stands in the sentence for {}; of many the rest are counted."""
    findings = [Finding(pointer, code, sentence.format(name)) for name in names[:_MOST_NAMED]]
    if len(names) > _MOST_NAMED:
        findings.append(Finding(pointer, code, sentence.format(f"and {len(names) - _MOST_NAMED} more")))
    return findings


def has_member(body: Any, path: Sequence[str]) -> bool:
    parent = member(body, path[:-1])
    return isinstance(parent, dict) and path[-1] in parent


def with_member(body: Body, path: Sequence[str], value: Any) -> Body:
    """A copy with the member set; unchanged where the object around it is missing. None removes it."""
    head, *rest = path
    copy = dict(body)
    if rest:
        inner = body.get(head)
        if isinstance(inner, dict):
            copy[head] = with_member(inner, rest, value)
    elif value is None:
        copy.pop(head, None)
    else:
        copy[head] = value
    return copy


def without_read_only(resource: Resource, given: Any) -> Any:
    """The body of a client without read-only members, which it may have read before."""
    if not isinstance(given, dict):
        return given
    return {name: value for name, value in given.items() if name not in resource.read_only}


def shown_body(resource: Resource, body: Body) -> Body:
    """A stored body without secrets and hidden members: what may be answered, exported, compared and logged."""
    for secret in resource.secrets:
        body = with_member(body, secret.path, None)
    hidden = resource.hidden if isinstance(resource, Collection) else ()
    return {name: value for name, value in body.items() if name not in hidden}
