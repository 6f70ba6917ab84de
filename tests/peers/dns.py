"""A DNS server on loopback.

It answers from tables as a recursive resolver does, and misbehaves where a test says so.
"""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset
import yaml
from dns.rdtypes.ANY.CNAME import CNAME

from tests.peers.background import DEADLINE_SECONDS, Gate, background, wait_for
from tests.peers.dns_misbehaviour import RCODES, Behaviour, Response, render
from tests.peers.dns_sockets import Endpoints

__all__ = ["Behaviour", "DnsServer", "Query", "Table", "quoted", "reverse_name"]

DEFAULT_TTL = 60
_LONGEST_CNAME_CHAIN = 16

# A table maps a name to types, and each type to the text of one record or to the texts of several records.
Table = Mapping[str, Mapping[str, str | Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Query:
    """One received question.

    `name` is in lower case without the last dot, `type` is the name of the record type, `transport` is udp or tcp.
    """

    name: str
    type: str
    transport: str
    client: tuple[str, int]
    # The EDNS payload size; it is 0 when the question has no EDNS.
    payload: int
    dnssec_ok: bool
    # The name as it was sent, in its original case.
    spelled: str


@dataclass(slots=True)
class _Rule:
    behaviour: Behaviour | None
    gate: Gate | None
    times: int | None


_Key = tuple[dns.name.Name, dns.rdatatype.RdataType]
_RuleKey = tuple[dns.name.Name, dns.rdatatype.RdataType | None]


class DnsServer:
    """Answers from the records that it was given. Any other name gets NXDOMAIN.

    Names are absolute, with or without the last dot. Records may be added, removed and replaced at any time, from any
    thread. The text of a record is in zone file form. A TXT value that does not begin with `"` is used as it is and cut
    into strings of 255 octets. Answers keep the order in which records were added.
    """

    def __init__(self, table: Table | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self._changed = threading.Condition()
        self._records: dict[_Key, dns.rrset.RRset] = {}
        # Every name that has records, and every name above such a name: an empty non-terminal exists as well (RFC
        # 8020).
        self._names: set[dns.name.Name] = set()
        self._rules: dict[_RuleKey, _Rule] = {}
        self._secure: set[dns.name.Name] = set()
        # Questions whose answers have no AD flag although their names are secure.
        self._forged: set[_RuleKey] = set()
        self._queries: list[Query] = []
        self._endpoints: Endpoints | None = None
        if table is not None:
            self.load(table)

    # Running

    def start(self) -> Self:
        """Listens on UDP and TCP on one port. `address` is valid when this method returns."""
        self._endpoints = background().call(Endpoints.open(self._respond, self.host, self.port))
        self.port = self._endpoints.port
        return self

    def stop(self) -> None:
        """Closes the sockets. The port stays reserved for a later `start`."""
        if self._endpoints is not None:
            background().call(self._endpoints.close())
            self._endpoints = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """The server's host:port, as the *_NAMESERVERS variables expect it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    # Records

    def load(self, table: Table) -> None:
        """Adds every record of a table {name: {type: text or [text, …]}}."""
        for name, types in table.items():
            for kind, texts in types.items():
                self.add(name, kind, *((texts,) if isinstance(texts, str) else texts))

    def load_yaml(self, text: str) -> None:
        """Adds the records of a table written as YAML."""
        self.load(yaml.safe_load(text))

    def add(self, name: str, kind: str, *texts: str, ttl: int = DEFAULT_TTL) -> None:
        """Adds records of one name and type. `*.example.test` is a wildcard (RFC 4592)."""
        owner = _name(name)
        if kind.upper() in ("TXT", "SPF"):
            texts = tuple(text if text.startswith('"') else quoted(text) for text in texts)
        rrset = dns.rrset.from_text(owner, ttl, "IN", kind, *texts)
        with self._changed:
            self._names.update(_ancestors(owner))
            known = self._records.setdefault((owner, rrset.rdtype), rrset)
            if known is not rrset:
                for record in rrset:
                    known.add(record)

    def replace(self, name: str, kind: str, *texts: str, ttl: int = DEFAULT_TTL) -> None:
        """Replaces all records of this name and type by these."""
        with self._changed:
            self.remove(name, kind)
            self.add(name, kind, *texts, ttl=ttl)

    def remove(self, name: str, kind: str | None = None) -> None:
        """Removes the records of this name, of one type or of all types."""
        owner = _name(name)
        with self._changed:
            for key in [key for key in self._records if key[0] == owner and kind in (None, key[1].name)]:
                del self._records[key]
            self._names = {ancestor for owner, _ in self._records for ancestor in _ancestors(owner)}

    def ptr(self, address: str, *names: str) -> None:
        """Adds PTR records for an IPv4 or IPv6 address."""
        self.add(reverse_name(address), "PTR", *(f"{name.rstrip('.')}." for name in names))

    def host_with_ptr(self, name: str, *addresses: str) -> None:
        """Adds an A or AAAA record for `name`, and the PTR record that maps back to it."""
        for address in addresses:
            self.add(name, "AAAA" if ":" in address else "A", address)
            self.ptr(address, name)

    def secure(self, name: str) -> None:
        """Sets the AD flag in answers at and below `name` when the question asked for it by AD or DO (RFC 6840 section
        5.7).
        """
        with self._changed:
            self._secure.add(_name(name))

    def forge(self, name: str, kind: str) -> None:
        """Omits the AD flag for records of one type of a secure name, as for records that an attacker inserts."""
        with self._changed:
            self._forged.add((_name(name), _type(kind)))

    # Behaviours

    def behave(self, name: str, behaviour: Behaviour, kind: str | None = None, times: int | None = None) -> None:
        """Answers questions for `name` with `behaviour`: questions of one type or all, the next `times` or all of them.

        A wildcard (`*.example.test`) applies to every name below it. The most specific rule is used: a rule with a type
        before a rule without a type, and a rule for the name before a rule for its wildcard.
        """
        self._set_rule(name, kind, _Rule(behaviour, None, times))

    def hold(self, name: str, kind: str | None = None, behaviour: Behaviour | None = None) -> Gate:
        """Makes questions for `name` wait at the returned gate.

        When the gate is open, the questions get the correct answer, or `behaviour` if it is given.
        """
        gate = Gate()
        self._set_rule(name, kind, _Rule(behaviour, gate, None))
        return gate

    def normal(self, name: str, kind: str | None = None) -> None:
        """Removes the rule that `behave` or `hold` has added for this name and type."""
        with self._changed:
            self._rules.pop((_name(name), _type(kind)), None)

    def clear(self) -> None:
        """Removes all records, behaviours and recorded queries, and what `secure` and `forge` have set."""
        with self._changed:
            self._records.clear()
            self._names.clear()
            self._rules.clear()
            self._secure.clear()
            self._forged.clear()
            self._queries.clear()

    # Recorded queries

    @property
    def queries(self) -> tuple[Query, ...]:
        with self._changed:
            return tuple(self._queries)

    def asked(self, name: str, kind: str | None = None) -> tuple[Query, ...]:
        """Returns the queries for a name, of one type or of all types."""
        wanted = name.rstrip(".").lower()
        return tuple(query for query in self.queries if query.name == wanted and kind in (None, query.type))

    def forget_queries(self) -> None:
        with self._changed:
            self._queries.clear()

    def wait_for_query(self, name: str, kind: str, times: int = 1, seconds: float = DEADLINE_SECONDS) -> None:
        """Blocks until the question was received `times` times. Raises NotReachedError."""
        wait_for(
            self._changed,
            lambda: len(self.asked(name, kind)) >= times,
            lambda: f"{times} queries for {name} {kind}; so far: {[(q.name, q.type) for q in self._queries]}",
            seconds,
        )

    async def query_came(self, name: str, kind: str, times: int = 1, seconds: float = DEADLINE_SECONDS) -> None:
        """Waits as `wait_for_query` does, for tests that run in an event loop."""
        await asyncio.to_thread(self.wait_for_query, name, kind, times, seconds)

    # Answering (runs in the peers' event loop)

    async def _respond(self, wire: bytes, transport: str, client: tuple[str, int]) -> Response:
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return Response()
        with self._changed:
            self._queries.append(_record(query, transport, client))
            self._changed.notify_all()
        rule = self._rule_for(question.name, question.rdtype)
        if rule is not None and rule.gate is not None:
            await rule.gate.passing()
        behaviour = None if rule is None else rule.behaviour
        with self._changed:
            answer, inherited = self._answer(query, behaviour)
        return render(query, answer, behaviour or inherited, transport)

    def _answer(
        self, query: dns.message.Message, behaviour: Behaviour | None
    ) -> tuple[dns.message.Message, Behaviour | None]:
        """Returns the answer, and the behaviour that applies to a name further down a chain of CNAMEs."""
        question = query.question[0]
        answer = dns.message.make_response(query, recursion_available=True)
        if behaviour is not None and behaviour in RCODES:
            answer.set_rcode(RCODES[behaviour])
            return answer, None
        name = question.name
        for _ in range(_LONGEST_CNAME_CHAIN):
            if name is not question.name:
                rule = self._rule_for(name, question.rdtype)
                behaviour = None if rule is None else rule.behaviour
                if behaviour is not None and behaviour in RCODES:
                    answer.set_rcode(RCODES[behaviour])
                    if behaviour is not Behaviour.NXDOMAIN:
                        answer.answer.clear()
                    return answer, None
            found = None if behaviour is Behaviour.NODATA else self._lookup(name, question.rdtype)
            alias = None if found is not None else self._lookup(name, dns.rdatatype.CNAME)
            if found is not None:
                answer.answer.append(found)
            elif alias is not None and behaviour is not Behaviour.NODATA:
                answer.answer.append(alias)
                name = cast("CNAME", alias[0]).target
                continue
            else:
                self._answer_none(answer, name, nodata=behaviour is Behaviour.NODATA)
            if (question.name, question.rdtype) not in self._forged:
                self._authenticate(query, answer, question.name)
            return answer, behaviour
        # The chain is a loop, so a resolver would give up.
        answer.answer.clear()
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer, None

    def _answer_none(self, answer: dns.message.Message, name: dns.name.Name, *, nodata: bool) -> None:
        if not nodata and name not in self._names and self._wildcard(name) is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        for ancestor in _ancestors(name):
            soa = self._records.get((ancestor, dns.rdatatype.SOA))
            if soa is not None:
                answer.authority.append(soa)
                return

    def _authenticate(self, query: dns.message.Message, answer: dns.message.Message, name: dns.name.Name) -> None:
        asked = query.flags & dns.flags.AD or query.ednsflags & dns.flags.DO
        owners = [name, *(rrset.name for rrset in answer.answer)]
        if asked and all(any(owner.is_subdomain(apex) for apex in self._secure) for owner in owners):
            answer.flags |= dns.flags.AD

    def _lookup(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
        found = self._records.get((name, kind))
        if found is None and name not in self._names:
            wildcard = self._wildcard(name)
            found = None if wildcard is None else self._records.get((wildcard, kind))
        if found is None:
            return None
        # This is a copy, because the tables may change while the answer is written.
        return dns.rrset.from_rdata_list(name, found.ttl, list(found))

    def _wildcard(self, name: dns.name.Name) -> dns.name.Name | None:
        # Only a wildcard at the closest existing ancestor applies (RFC 4592 section 3.3.1).
        for ancestor in _ancestors(name.parent() if len(name) > 1 else name):
            wildcard = dns.name.Name((b"*", *ancestor.labels))
            if wildcard in self._names:
                return wildcard
            if ancestor in self._names:
                return None
        return None

    def _set_rule(self, name: str, kind: str | None, rule: _Rule) -> None:
        with self._changed:
            self._rules[(_name(name), _type(kind))] = rule

    def _rule_for(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> _Rule | None:
        wildcards = [dns.name.Name((b"*", *ancestor.labels)) for ancestor in _ancestors(name)[1:]]
        with self._changed:
            for owner in (name, *wildcards):
                for key in ((owner, kind), (owner, None)):
                    rule = self._rules.get(key)
                    if rule is None or rule.times == 0:
                        continue
                    if rule.times is not None:
                        rule.times -= 1
                    return rule
        return None


def reverse_name(address: str) -> str:
    """Returns the name of an address in in-addr.arpa or ip6.arpa."""
    return dns.reversename.from_address(str(ipaddress.ip_address(address))).to_text()


def quoted(text: str) -> str:
    """Returns a TXT value as zone file text, in strings of at most 255 octets."""
    octets = text.encode()
    pieces = [octets[start : start + 255] for start in range(0, len(octets), 255)] or [b""]
    return " ".join('"' + "".join(_escaped(octet) for octet in piece) + '"' for piece in pieces)


def _record(query: dns.message.Message, transport: str, client: tuple[str, int]) -> Query:
    question = query.question[0]
    spelled = question.name.to_text(omit_final_dot=True)
    return Query(
        name=spelled.lower(),
        type=dns.rdatatype.to_text(question.rdtype),
        transport=transport,
        client=client,
        payload=query.payload if query.edns >= 0 else 0,
        dnssec_ok=bool(query.ednsflags & dns.flags.DO),
        spelled=spelled,
    )


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


def _type(text: str | None) -> dns.rdatatype.RdataType | None:
    return None if text is None else dns.rdatatype.from_text(text)


def _ancestors(name: dns.name.Name) -> list[dns.name.Name]:
    """Returns the name itself and all names above it; the root comes last."""
    return [dns.name.Name(name.labels[start:]) for start in range(len(name.labels))]


def _escaped(octet: int) -> str:
    return chr(octet) if 0x20 <= octet < 0x7F and octet not in b'"\\' else f"\\{octet:03d}"
