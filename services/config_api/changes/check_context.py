"""Answers the questions that checks ask about other objects, the DNS and this machine. Each question to the DNS has a
time limit.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.dns.stub_resolver import Outcome, StubResolver
from libs.runtime.maildir_roots import MaildirRoots
from libs.smtp.network import IPNetwork
from services.config_api.resources.catalogue import COLLECTIONS
from services.config_api.resources.description import MOST_MATCHES, Body, MailHost, MailHosts
from services.config_api.storage.documents import Store

_QUESTION_SECONDS = 1.0
_STUB_RESOLVER = StubResolver(seconds=_QUESTION_SECONDS, try_share=1.0)


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts about the machine of this gateway. Addresses are in canonical form."""

    own_addresses: frozenset[str]
    gateways: frozenset[str]
    own_ports: frozenset[int]
    maildirs: MaildirRoots
    webhook_networks: tuple[IPNetwork, ...] = ()


class StoredCheckContext:
    """The context in which one object is checked against the stored configuration. `others` does not contain this
    object.
    """

    def __init__(self, store: Store, machine: Machine, nameservers: Sequence[str], document_id: str = "") -> None:
        self._store = store
        self._machine = machine
        self._nameservers = nameservers
        self._document_id = document_id

    @property
    def place(self) -> tuple[Store, Machine, Sequence[str]]:
        """The arguments, without the id of the object, from which another context can be made."""
        return self._store, self._machine, self._nameservers

    @property
    def own_addresses(self) -> frozenset[str]:
        return self._machine.own_addresses

    @property
    def gateways(self) -> frozenset[str]:
        return self._machine.gateways

    @property
    def webhook_networks(self) -> Sequence[IPNetwork]:
        return self._machine.webhook_networks

    @property
    def own_ports(self) -> frozenset[int]:
        return self._machine.own_ports

    async def settings(self, kind: str) -> Body:
        document = await self._store.get(kind, kind)
        return {} if document is None else document.body

    async def others(self, kind: str) -> Sequence[Body]:
        return [found.body for found in await self._store.all(kind) if found.id != self._document_id]

    async def matching(self, kind: str, member: str, value: str) -> Sequence[Body]:
        page = await self._store.page(kind, {member: value}, None, MOST_MATCHES)
        return [document.body for document in page if document.id != self._document_id]

    async def present(self, kind: str) -> Body | None:
        document = await self._store.get(kind, self._document_id)
        return None if document is None else document.body

    async def taken(self, scope: str, values: Sequence[str]) -> frozenset[str]:
        return await self._store.taken(scope, values)

    async def addresses(self, host: str, name_servers: Sequence[str] = ()) -> Sequence[str] | None:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        answers = await asyncio.gather(self._ask(host, "A", name_servers), self._ask(host, "AAAA", name_servers))
        texts = [text for answer in answers for text in answer or ()]
        return None if not texts and None in answers else texts

    async def listings(self, address: str, zone: str) -> Sequence[str] | None:
        reversed_octets = ipaddress.IPv4Address(address).reverse_pointer.removesuffix(".in-addr.arpa")
        return await self._ask(f"{reversed_octets}.{zone}", "A")

    async def names(self, address: str) -> Sequence[str] | None:
        answer = await self._ask(ipaddress.ip_address(address).reverse_pointer, "PTR")
        return None if answer is None else [name.rstrip(".").lower() for name in answer]

    async def mail_hosts(self, domain: str) -> Sequence[MailHosts]:
        configured = await self.settings("settings/resolvers")
        lists = [tuple(configured.get("preferred") or ())]
        if configured.get("alternate"):
            lists.append(tuple(configured["alternate"]))
        answers = await asyncio.gather(*(self._ask(domain, "MX", servers) for servers in lists))
        return [
            MailHosts(servers, None if answer is None else sorted(map(_mail_host, answer)))
            for servers, answer in zip(lists, answers, strict=True)
        ]

    def is_maildir_allowed(self, path: str) -> bool:
        return self._machine.maildirs.allow(path)

    async def _ask(self, name: str, kind: str, servers: Sequence[str] = ()) -> list[str] | None:
        """Asks name servers. Returns the records as text: empty when there are none, None when there was no answer."""
        answer = await _STUB_RESOLVER.ask(name, kind, servers=servers or self._nameservers)
        return None if answer.outcome is Outcome.NO_ANSWER else [record.to_text() for record in answer.records]


class DocumentCheckContext(StoredCheckContext):
    """The CheckContext of a configuration that is not stored yet. `about` is the body that is being checked.

    Kinds of objects that this configuration does not contain are read from the database.
    """

    def __init__(
        self,
        stored: StoredCheckContext,
        settings: Mapping[str, Body],
        collections: Mapping[str, Sequence[Body]],
        taken: frozenset[tuple[str, str]],
    ) -> None:
        super().__init__(*stored.place)
        self._settings = settings
        self._collections = collections
        self._taken = taken
        self.about: Body | None = None
        # The object that is being checked, as it is stored.
        self.before: Body | None = None
        self._indexes: dict[tuple[str, str], dict[str, list[Body]]] = {}

    async def settings(self, kind: str) -> Body:
        return self._settings[kind] if kind in self._settings else await super().settings(kind)

    async def others(self, kind: str) -> Sequence[Body]:
        if kind not in self._collections:
            return await super().others(kind)
        return [body for body in self._collections[kind] if body is not self.about]

    async def matching(self, kind: str, member: str, value: str) -> Sequence[Body]:
        if kind not in self._collections:
            return await super().matching(kind, member, value)
        index = self._indexes.get((kind, member))
        if index is None:
            terms = next(collection for collection in COLLECTIONS if collection.kind == kind).filters[member].terms
            index = self._indexes[(kind, member)] = defaultdict(list)
            for body in self._collections[kind]:
                for term in terms(body):
                    index[term].append(body)
        return [body for body in index.get(value, ())[:MOST_MATCHES] if body is not self.about]

    async def present(self, kind: str) -> Body | None:  # noqa: ARG002
        return self.before

    async def taken(self, scope: str, values: Sequence[str]) -> frozenset[str]:
        in_document = frozenset(value for value in values if (scope, value) in self._taken)
        if all(collection.kind in self._collections for collection in COLLECTIONS if collection.portable):
            return in_document
        return in_document | await self._store.taken(scope, values, other_than=self._collections.keys())


def read_machine(ports: Sequence[int], maildirs: MaildirRoots, webhook_networks: Sequence[IPNetwork] = ()) -> Machine:
    """Reads the addresses from which this host sends, and its gateways. Facts that cannot be read are left out."""
    own = {"127.0.0.1", "::1", "0.0.0.0", "::"}
    # Connecting a datagram socket sends nothing, but it selects the address from which packets would be sent.
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                own.add(str(ipaddress.ip_address(probe.getsockname()[0])))
        except (OSError, ValueError):
            continue
    own_ports = frozenset(port for port in ports if port)
    return Machine(frozenset(own), frozenset(_gateways()), own_ports, maildirs, tuple(webhook_networks))


def _gateways() -> list[str]:
    gateways = []
    try:
        for line in Path("/proc/net/route").read_text("ascii").splitlines()[1:]:
            columns = line.split()
            if int(columns[2], 16):
                gateways.append(str(ipaddress.IPv4Address(int(columns[2], 16).to_bytes(4, "little"))))
    except (OSError, ValueError, IndexError):
        pass
    try:
        for line in Path("/proc/net/ipv6_route").read_text("ascii").splitlines():
            columns = line.split()
            if int(columns[4], 16):
                gateways.append(str(ipaddress.IPv6Address(int(columns[4], 16))))
    except (OSError, ValueError, IndexError):
        pass
    return gateways


def _mail_host(text: str) -> MailHost:
    preference, _, host = text.partition(" ")
    return MailHost(int(preference), host.rstrip(".").lower())
