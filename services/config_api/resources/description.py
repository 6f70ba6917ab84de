"""Classes that describe resources. The endpoints, the storage, the import and the snapshot use these descriptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from libs.smtp.network import IPNetwork

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Secret:
    """A member that is written but never shown. When a client leaves it out, the stored secret is kept, unless
    `bound_to` or `protections` forbid this.
    """

    # The names of the members that lead from the root of the body to the secret.
    path: tuple[str, ...]
    kept_as: Literal["sealed", "argon2id"] = "sealed"
    # The path of a member in which a client may send the hash of the secret instead. The hash is stored unchanged.
    hash_path: tuple[str, ...] = ()
    # Whether the secret is required when the object that contains it is present.
    required: bool = False
    # Whether the secret can be given only with a new object, and cannot be changed afterwards.
    fixed: bool = False
    # The secret is kept only while these members do not change, so that a stored password is never sent to another
    # host.
    bound_to: tuple[tuple[str, ...], ...] = ()
    # Returns facts about how the complete body protects the secret. The stored secret is not kept when one of these
    # facts becomes false (F42).
    protections: Callable[[Body], tuple[bool, ...]] = lambda _: ()

    @property
    def pointer(self) -> str:
        return "".join(f"/{name}" for name in self.path)

    def is_weakened(self, before: Body, after: Body) -> bool:
        """Whether the complete body `after` protects the secret less than `before`."""
        protections = zip(self.protections(before), self.protections(after), strict=True)
        return any(was and not is_now for was, is_now in protections)


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A value that only one object may have, among all resources with this scope."""

    scope: str
    value: str
    pointer: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A value that is allowed but probably a mistake."""

    pointer: str
    code: str
    detail: str

    def as_json(self) -> dict[str, str]:
        return {"pointer": self.pointer, "code": self.code, "detail": self.detail}


@dataclass(frozen=True, slots=True, order=True)
class MailHost:
    """One host of the MX set of a domain."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class MailHosts:
    """The MX hosts of a domain from one set of name servers. `name_servers` is empty for those of the system. `hosts`
    is None when there was no answer.
    """

    name_servers: tuple[str, ...]
    hosts: Sequence[MailHost] | None


class CheckContext(Protocol):
    """Answers the questions that checks ask about other objects, the DNS and this machine. Each question to the DNS has
    a time limit.
    """

    async def settings(self, kind: str) -> Body:
        """Returns the present body of a singleton."""

    async def others(self, kind: str) -> Sequence[Body]:
        """Returns the bodies of a collection, without the object that is being checked."""

    async def matching(self, kind: str, member: str, value: str) -> Sequence[Body]:
        """Returns up to 1,000 bodies of a collection in which the filter `member` has this value, without the object
        that is being checked.
        """

    async def present(self, kind: str) -> Body | None:
        """Returns the stored body of the object that is being checked, or None for a new object."""

    async def taken(self, scope: str, values: Sequence[str]) -> frozenset[str]:
        """Returns those of the values that objects already have as unique keys in the scope."""

    async def addresses(self, host: str, name_servers: Sequence[str] = ()) -> Sequence[str] | None:
        """Returns the A and AAAA records of a name: empty when it has none, None when there was no answer."""

    async def listings(self, address: str, zone: str) -> Sequence[str] | None:
        """Returns the A records of an IPv4 address in a DNS block list (RFC 5782 2.1): empty when it has none, None
        when there was no answer.
        """

    async def names(self, address: str) -> Sequence[str] | None:
        """Returns the PTR names of an address: empty when it has none, None when there was no answer."""

    async def mail_hosts(self, domain: str) -> Sequence[MailHosts]:
        """Returns the MX hosts of a domain, for each set of name servers that is used for relay domains."""

    def is_maildir_allowed(self, path: str) -> bool:
        """Whether mail may be written to this folder of relay's machine."""

    @property
    def webhook_networks(self) -> Sequence[IPNetwork]:
        """Returns the networks to which webhooks may be sent, besides public addresses."""

    @property
    def own_addresses(self) -> frozenset[str]: ...

    @property
    def gateways(self) -> frozenset[str]: ...

    @property
    def own_ports(self) -> frozenset[int]:
        """Returns the ports on which ingress listens."""


Check = Callable[[Body, CheckContext], Awaitable[Sequence[Finding]]]
MOST_MATCHES = 1000


async def no_findings(body: Body, check_context: CheckContext) -> Sequence[Finding]:  # noqa: ARG001
    return ()


@dataclass(frozen=True, slots=True)
class Resource:
    """The description of a resource: the attributes that singletons and collections share. `kind` is the path under /v1
    and the key in storage.
    """

    kind: str
    # The noun in the operationIds: get<Noun>, replace<Noun>.
    noun: str
    # The noun in sentences, for example "relay rule".
    label: str
    tag: str
    model: type[BaseModel]
    secrets: tuple[Secret, ...] = ()
    # Raises Problem for a forbidden value.
    refuse: Check = no_findings
    # Returns warnings about values that are allowed but probably a mistake.
    check: Check = no_findings

    @property
    def read_only(self) -> frozenset[str]:
        """Returns the members that the service adds to an answer. They are ignored in requests."""
        return frozenset({"warnings"})


@dataclass(frozen=True, slots=True)
class Singleton(Resource):
    """Settings that exist exactly once."""


@dataclass(frozen=True, slots=True)
class Created:
    """The members that the service adds to a new object. `hidden` members are stored, and `shown_once` are only in the
    answer.
    """

    hidden: Body = field(default_factory=dict)
    shown_once: Body = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Collection(Resource):
    """Objects of which there may be many, each with an id."""

    plural: str = ""
    # Returns the unique keys of an object besides its id. An import finds objects by the first of them.
    unique: Callable[[Body], Iterable[UniqueKey]] = lambda _: ()
    # The filters of the list, by the names of their query parameters.
    filters: Mapping[str, Filter] = field(default_factory=dict)
    # Stored members that the service makes, and that clients can neither read nor write.
    hidden: tuple[str, ...] = ()
    create: Callable[[BaseModel], Awaitable[Created]] | None = None
    # The model of the read-only members of an answer, and the function that makes these members from the stored body.
    shown: type[BaseModel] | None = None
    show: Callable[[Body], Body] | None = None
    # Members that cannot be changed after creation.
    fixed: tuple[str, ...] = ()
    # Whether export, import and rollback include the collection. They do not include API keys, webhooks and listed
    # recipients.
    portable: bool = True
    # The largest number of operations that one batch may have.
    most_in_batch: int = 5_000
    # Returns warnings about objects that still refer to an object that is removed or disabled.
    references: Check = no_findings
    # Returns what a change removes from an object, as a body for `references`, or None when nothing is removed.
    lost: Callable[[Body, Body], Body | None] = lambda _before, _after: None

    @property
    def read_only(self) -> frozenset[str]:
        shown = self.shown.model_fields if self.shown is not None else ()
        return frozenset({"warnings", "id", "created_at", "updated_at", *shown})


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of a list. `terms` returns the values of an object in canonical form. `canonical` converts the value of
    the query parameter to this form, or raises ValueError.
    """

    description: str
    terms: Callable[[Body], Iterable[str]]
    canonical: Callable[[str], str] = str
    choices: tuple[str, ...] = ()


def member(body: Any, path: Sequence[str]) -> Any:
    """Returns the value at a path of member names, or None when a member of the path is missing."""
    for name in path:
        if not isinstance(body, dict):
            return None
        body = body.get(name)
    return body


_MOST_NAMED = 50


def named(code: str, sentence: str, names: Sequence[str], pointer: str = "") -> list[Finding]:
    """Returns a warning for each name, which replaces {} in the sentence. If there are very many names, the last
    warning only says how many more there are.
    """
    findings = [Finding(pointer, code, sentence.format(name)) for name in names[:_MOST_NAMED]]
    if len(names) > _MOST_NAMED:
        findings.append(Finding(pointer, code, sentence.format(f"and {len(names) - _MOST_NAMED} more")))
    return findings


def has_member(body: Any, path: Sequence[str]) -> bool:
    parent = member(body, path[:-1])
    return isinstance(parent, dict) and path[-1] in parent


def with_member(body: Body, path: Sequence[str], value: Any) -> Body:
    """Returns a copy in which the member is set, or removed when the value is None. The copy is unchanged when the
    object that would contain the member is missing.
    """
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
    """Returns the body of a client without read-only members, which may come from an earlier answer."""
    if not isinstance(given, dict):
        return given
    read_only = resource.read_only
    return {name: value for name, value in given.items() if name not in read_only}


def shown_body(resource: Resource, body: Body) -> Body:
    """Returns a stored body without secrets and hidden members, which may be shown, exported, compared and logged."""
    for secret in resource.secrets:
        body = with_member(body, secret.path, None)
    hidden = resource.hidden if isinstance(resource, Collection) else ()
    return {name: value for name, value in body.items() if name not in hidden}
