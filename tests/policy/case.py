"""YAML cases of settings, facts and the expected verdict. test_cases.py runs each directly and through gRPC."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.json_format import ParseDict
from posthouse.policy.v1 import policy_pb2

from libs.smtp.network import canonical_ip
from services.policy.lookups.dnsbl import query_name
from services.policy.rules import dmarc
from services.policy.rules.lookup import NULL_MX, Lookup, LookupResult, Outcome, Question
from tests.peers.dns import Behaviour, DnsServer, reverse_name
from tests.policy.world import STRANGER

FOLDER = Path(__file__).parent / "cases"

_SPF_RECORDS = {
    "pass": "v=spf1 +all",
    "fail": "v=spf1 -all",
    "softfail": "v=spf1 ~all",
    "neutral": "v=spf1 ?all",
    "permerror": "v=spf1 nonsense -all",
}


@dataclass(frozen=True)
class Case:
    """One case. `lookups` maps the name of a look-up to what the DNS contains. These values are possible:

    client_name: found, none, unconfirmed, no_answer. sender_domain, helo_domain: found, none, null_mx, no_answer.
    dnsbl: {zone: [addresses], none or no_answer}. spf: a result. dmarc: {domain: record text, none or no_answer}.
    The request is made `repeat` times, each time in a new session, and the last verdict is compared.
    """

    id: str
    settings: Mapping[str, Any]
    stage: str
    session: Mapping[str, Any]
    transaction: Mapping[str, Any] | None
    content: Mapping[str, Any] | None
    lookups: Mapping[str, Any]
    wanted: Mapping[str, Any]
    repeat: int = 1

    def request(self) -> policy_pb2.DecideRequest:
        """Returns the request that ingress would send, with the facts of the case."""
        session = {"listener": "LISTENER_SMTP", "client_address": STRANGER, "helo_name": "mail.sender.test"}
        session |= self.session
        tls = session.pop("tls", False)
        helo = session.pop("helo_name")
        request = policy_pb2.DecideRequest(stage=policy_pb2.Stage.Value(f"STAGE_{self.stage.upper()}"))
        ParseDict(session, request.session)
        request.session.id = uuid.uuid4().hex
        request.session.helo_name = helo.encode("latin-1")
        if tls:
            request.session.tls.version = "TLSv1.3"
        if self.transaction is not None:
            _transaction(self.transaction, request.transaction)
        if self.content is not None:
            _content(self.content, request.content)
        return request

    # Two ways to provide what the DNS contains: as records in a zone, and as results of look-ups

    def fill(self, server: DnsServer, request: policy_pb2.DecideRequest) -> None:
        client = str(canonical_ip(request.session.client_address))
        sender_domain = request.transaction.sender.rpartition(b"@")[2].decode()
        helo = request.session.helo_name.decode("latin-1")
        for name, held in self.lookups.items():
            match name:
                case "client_name":
                    _fill_client(server, client, held)
                case "sender_domain":
                    _fill_domain(server, sender_domain, held)
                case "helo_domain":
                    _fill_domain(server, helo, held)
                case "dnsbl":
                    _fill_dnsbl(server, client, held)
                case "spf":
                    _fill_spf(server, sender_domain or helo, held)
                case "dmarc":
                    for domain, record in held.items():
                        _fill_text(server, f"_dmarc.{domain}", record)

    def lookup_result(self, question: Question) -> LookupResult:
        """Returns the result that a look-up has when the DNS contains what the case says."""
        held = self.lookups.get(question.lookup.value, "none")
        match question.lookup:
            case Lookup.DNSBL:
                return _dnsbl_finding(held.get(question.zone, "none") if held != "none" else "none")
            case Lookup.SPF:
                return LookupResult(Outcome.NO_ANSWER) if held == "temperror" else LookupResult(Outcome.FOUND, (held,))
            case Lookup.DMARC:
                return _dmarc_finding(question.subject, held if held != "none" else {})
            case _:
                return _name_finding(held)


def cases() -> Iterator[Case]:
    """Returns every case of every file, in order. A file may have `settings` that all of its cases share."""
    for path in sorted(FOLDER.glob("*.yaml")):
        document = yaml.safe_load(path.read_text("utf-8"))
        for group in document["groups"]:
            for given in group["cases"]:
                for name, changes in _variants(given):
                    yield _case(f"{path.stem}: {group['name']}: {name}", document, group, changes)


def _variants(given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields a name and the content of each case that one entry stands for. An entry with `modes: {off: …, shadow: …,
    enforce: …}` stands for a case for each mode, in whose settings `MODE` is replaced by the mode.
    """
    if "modes" not in given:
        yield given["name"], dict(given)
        return
    for mode, wanted in given["modes"].items():
        changes = {name: value for name, value in given.items() if name != "modes"}
        yield f"{given['name']} ({mode})", {**_with_mode(changes, mode), "mode": mode, "wanted": wanted}


def _with_mode(value: Any, mode: str) -> Any:
    if isinstance(value, dict):
        return {name: _with_mode(each, mode) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_mode(each, mode) for each in value]
    return mode if value == "MODE" else value


def _case(name: str, document: Mapping[str, Any], group: Mapping[str, Any], given: Mapping[str, Any]) -> Case:
    def joined(key: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for source in (document, group, given):
            _merge(merged, copy.deepcopy(source.get(key) or {}))
        return merged

    def present(key: str) -> dict[str, Any] | None:
        return joined(key) if any(key in source for source in (document, group, given)) else None

    return Case(
        id=name,
        settings=_with_mode(joined("settings"), given.get("mode", "enforce")),
        stage=given.get("stage") or group.get("stage") or document["stage"],
        session=joined("session"),
        transaction=present("transaction"),
        content=present("content"),
        lookups=joined("lookups"),
        wanted=_wanted(given["wanted"]),
        repeat=given.get("repeat", 1),
    )


def _wanted(given: Any) -> Mapping[str, Any]:
    """Parses an expected verdict, which is a mapping or one of the short forms.

    The short forms are `accept`, `shadow REASON…`, `discard REASON [RULE]`, and `CODE X.Y.Z REASON [RULE] [close]`.
    """
    if not isinstance(given, str):
        wanted: Mapping[str, Any] = given
        return wanted
    match given.split():
        case ["accept"]:
            return {"action": "accept"}
        case ["shadow", *reasons]:
            return {"action": "accept", "shadow": reasons}
        case ["discard", reason, *rule]:
            return {"action": "discard", "reply": "", "reason": reason, "rule": "".join(rule)}
        case [code, enhanced, reason, *rest]:
            rule = [word for word in rest if word != "close"]
            closes = {"close": True} if "close" in rest else {}
            reply = {"reply": f"{code} {enhanced}", "reason": reason, "rule": "".join(rule)}
            return {"action": "reject", **reply, **closes}
    raise ValueError(f"the expected verdict {given!r} has an unknown form")


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            _merge(base[name], value)
        else:
            base[name] = value


def _transaction(given: Mapping[str, Any], message: policy_pb2.Transaction) -> None:
    message.sender = given.get("sender", "").encode()
    message.recipient = given.get("recipient", "").encode()
    message.declared_size = given.get("declared_size", 0)
    if "recipient_verification" in given:
        name = f"RECIPIENT_VERIFICATION_{given['recipient_verification'].upper()}"
        message.recipient_verification = policy_pb2.RecipientVerification.Value(name)
    recipients = given.get("recipients", [])
    if isinstance(recipients, int):
        recipients = [f"r{number}@relay.test" for number in range(recipients)]
    message.recipients.extend(recipient.encode() for recipient in recipients)


def _content(given: Mapping[str, Any], message: policy_pb2.Content) -> None:
    message.size = given.get("size", 1000)
    message.hops = given.get("hops", 1)
    authors = given.get("from", ["joe@sender.test"])
    message.from_fields = given.get("from_fields", 1 if authors else 0)
    message.from_addresses.extend(author.encode() for author in authors)
    message.from_unparsable = given.get("from_unparsable", False)
    message.dkim_checked = "dkim" in given
    for domain, result in given.get("dkim", []):
        message.dkim.add(
            domain=domain.encode(),
            selector=b"s1",
            algorithm="rsa-sha256",
            result=policy_pb2.CheckResult.Value(f"CHECK_RESULT_{result.upper()}"),
        )
    if "virus" in given:
        message.virus.outcome = policy_pb2.VirusScan.Outcome.Value(f"OUTCOME_{given['virus'].upper()}")
    if "spam" in given:
        message.spam.action = policy_pb2.SpamScan.Action.Value(f"ACTION_{given['spam'].upper()}")


# Records in a zone


def _fill_client(server: DnsServer, client: str, held: str) -> None:
    match held:
        case "found":
            server.host_with_ptr("client.sender.test", client)
        case "unconfirmed":
            server.ptr(client, "client.sender.test")
            server.add("client.sender.test", "A", "203.0.113.99")
        case "no_answer":
            server.behave(reverse_name(client), Behaviour.SERVFAIL)


def _fill_domain(server: DnsServer, domain: str, held: str) -> None:
    match held:
        case "found":
            server.add(domain, "A", "203.0.113.5")
        case "null_mx":
            server.add(domain, "MX", "0 .")
            server.add(domain, "A", "203.0.113.5")
        case "no_answer":
            server.behave(domain, Behaviour.SERVFAIL)


def _fill_dnsbl(server: DnsServer, client: str, held: Mapping[str, Any]) -> None:
    for zone, codes in held.items():
        name = query_name(client, zone)
        if codes == "no_answer":
            server.behave(name, Behaviour.SERVFAIL)
        elif codes != "none":
            server.add(name, "A", *codes)


def _fill_spf(server: DnsServer, domain: str, held: str) -> None:
    if held == "temperror":
        server.behave(domain, Behaviour.SERVFAIL, "TXT")
    elif held != "none":
        server.add(domain, "TXT", _SPF_RECORDS[held])


def _fill_text(server: DnsServer, name: str, held: str) -> None:
    if held == "no_answer":
        server.behave(name, Behaviour.SERVFAIL)
    elif held != "none":
        server.add(name, "TXT", held)


# Results of look-ups


def _name_finding(held: str) -> LookupResult:
    match held:
        case "found":
            return LookupResult(Outcome.FOUND, ("client.sender.test",))
        case "no_answer":
            return LookupResult(Outcome.NO_ANSWER)
        case "null_mx":
            return LookupResult(Outcome.NONE, detail=NULL_MX)
        case _:
            return LookupResult(Outcome.NONE)


def _dnsbl_finding(held: Any) -> LookupResult:
    if held == "no_answer":
        return LookupResult(Outcome.NO_ANSWER)
    return LookupResult(Outcome.NONE) if held == "none" else LookupResult(Outcome.FOUND, tuple(held))


def _dmarc_finding(domain: str, held: Mapping[str, str]) -> LookupResult:
    found = {}
    for step in dmarc.walk(domain):
        text = held.get(step, "none")
        if text == "no_answer":
            return LookupResult(Outcome.NO_ANSWER)
        record = dmarc.only_record([text])
        if record is not None:
            found[step] = record
            if dmarc.stops(record):
                break
    holds = dmarc.applying(domain, found, exists=True)
    return LookupResult(Outcome.FOUND if holds.published_at else Outcome.NONE, dmarc=holds)
