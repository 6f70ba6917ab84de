"""Where Postfix sends mail: relayhost, relay hosts by sender, transports, logins, TLS; as delivery and relay rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from services.command_line.postfix.maps import read_all
from services.command_line.postfix.parameters import Parameters, split
from services.command_line.postfix.report import Plan

_NEXT_HOP = re.compile(r"(?P<bracket>\[)?(?P<host>[^\]:\s]+|[^\]\s]*:[^\]\s]*(?=\]))(?(bracket)\])(?::(?P<port>\w+))?")
_PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465, "lmtp": 24}
_STRICT_LEVELS = ("encrypt", "verify", "secure", "fingerprint", "dane-only")
_VERIFIED_LEVELS = ("verify", "secure")
_SMTP_TRANSPORTS = ("smtp", "relay", "esmtp", "smtps")


class NextHops:
    """Reads next hops with the logins and TLS levels that Postfix would use for them."""

    def __init__(self, parameters: Parameters, folder: Path, plan: Plan) -> None:
        self._parameters = parameters
        self._folder = folder
        self._plan = plan
        self._passwords: dict[str, str] = {}
        if parameters.is_on("smtp_sasl_auth_enable"):
            self._passwords = dict(self.pairs("smtp_sasl_password_maps"))

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """The entries of all tables of a parameter; those that can't be read are reported."""
        tables, faults = read_all(self._parameters.words(name), self._folder)
        for fault in faults:
            self._plan.not_taken(name, fault)
        pairs: dict[str, str] = {}
        for table in tables:
            for key, value in table.entries:
                pairs.setdefault(key, value)
        return list(pairs.items())

    def all_mail(self) -> None:
        """relayhost, and what transport_maps says for every domain."""
        relayhost = self._parameters["relayhost"]
        if not relayhost:
            if self._parameters.is_set("relayhost"):
                self._plan.taken("relayhost", "none: mail goes to the MX hosts of each domain")
            return
        host = self.relay_host("relayhost", relayhost)
        if host is not None:
            self._plan.set("delivery", "mode", "relay_host")
            self._plan.set("delivery", "relay_host", host)
            self._plan.taken(
                "relayhost", f"all mail that nothing else takes goes through {host['host']}:{host['port']}"
            )

    def by_sender(self) -> None:
        for key, value in self.pairs("sender_dependent_relayhost_maps"):
            host = self.relay_host("sender_dependent_relayhost_maps", value, sender=key)
            if host is None:
                continue
            is_domain = key.startswith("@")
            self._rule("sender", "domain" if is_domain else "address", key.removeprefix("@"), host)
            self._plan.taken("sender_dependent_relayhost_maps", f"mail from {key} goes through {host['host']}")

    def transports(self) -> dict[str, dict[str, Any]]:
        """The rules of transport_maps. Returns the mailboxes of domains whose transport is LMTP."""
        mailboxes = {}
        for key, value in self.pairs("transport_maps"):
            transport, _, next_hop = value.partition(":")
            transport = transport or self._parameters["relay_transport"].partition(":")[0]
            if transport == "lmtp" and "@" not in key and (mailbox := self.mailbox("transport_maps", value)):
                mailboxes[key] = mailbox
            elif transport not in _SMTP_TRANSPORTS:
                self._plan.not_taken("transport_maps", f"{key}: {_why_not(transport)}")
            elif key == "*":
                self._every_domain(next_hop)
            elif not next_hop:
                self._plan.partly("transport_maps", f"{key}: no next hop is named, so its mail goes to its MX, as here")
            elif (host := self.relay_host("transport_maps", next_hop)) is not None:
                self._rule("recipient", "address" if "@" in key else "domain", key, host)
                self._plan.taken("transport_maps", f"mail to {key} goes through {host['host']}:{host['port']}")
                if "@" not in key and not key.startswith("."):
                    self._plan.partly("transport_maps", f"{key}: sub-domains only where the table has .{key}")
        return mailboxes

    def _every_domain(self, next_hop: str) -> None:
        host = self.relay_host("transport_maps", next_hop) if next_hop else None
        if host is None:
            self._plan.not_taken("transport_maps", "*: it names no next hop")
            return
        self._plan.set("delivery", "mode", "relay_host")
        self._plan.set("delivery", "relay_host", host)
        self._plan.taken("transport_maps", f"*: all mail that nothing else takes goes through {host['host']}")

    def mailbox(self, parameter: str, value: str) -> dict[str, Any] | None:
        """The mailbox server of a transport `lmtp:inet:host:port` or `smtp:[host]:port`; None where it is none here."""
        transport, _, next_hop = value.partition(":")
        if transport == "lmtp" and next_hop.startswith("unix:"):
            self._plan.not_taken(parameter, f"{value}: LMTP goes over TCP here, not through a Unix socket")
            return None
        parsed = _NEXT_HOP.fullmatch(next_hop.removeprefix("inet:"))
        if parsed is None:
            return None
        return {
            "kind": "lmtp" if transport == "lmtp" else "smtp",
            "host": parsed["host"],
            "port": _port(parsed["port"], 24 if transport == "lmtp" else 25),
        }

    def relay_host(self, parameter: str, next_hop: str, sender: str = "") -> dict[str, Any] | None:
        """A relay host with login and TLS, as the API has it; reports a next hop that is none here."""
        first, *more = split(next_hop)
        if more:
            self._plan.partly(parameter, f"{next_hop}: only the first host is taken")
        parsed = _NEXT_HOP.fullmatch(first)
        if parsed is None:
            self._plan.not_taken(parameter, f"{next_hop!r} is no next hop")
            return None
        host: dict[str, Any] = {"host": parsed["host"], "port": _port(parsed["port"], 25)}
        if not parsed["bracket"]:
            self._plan.partly(parameter, f"{first}: without brackets Postfix asks for its MX; here it is a host's name")
        level = self._parameters["smtp_tls_security_level"]
        if self._parameters.is_on("smtp_enforce_tls"):
            level = level or "encrypt"
        if self._parameters.is_on("smtp_tls_wrappermode"):
            host["implicit_tls"] = True
        elif host["port"] == _PORTS["smtps"]:
            host["implicit_tls"] = False
        if level in _STRICT_LEVELS:
            host["always_tls"] = True
            host["verify_certificate"] = level in _VERIFIED_LEVELS
        elif level == "none":
            self._plan.partly(
                parameter, f"{first}: smtp_tls_security_level=none; here STARTTLS is used when it is offered"
            )
        login = self._login(first, sender)
        if login is not None:
            host["auth"] = login
            if not host.get("always_tls") and not host.get("implicit_tls"):
                login["allow_without_tls"] = True
                self._plan.partly(
                    parameter, f"{first}: the password may go over a connection without TLS, as in Postfix"
                )
        return host

    def _login(self, next_hop: str, sender: str) -> dict[str, Any] | None:
        found = None
        if sender and self._parameters.is_on("smtp_sender_dependent_authentication"):
            found = self._passwords.get(sender)
        for key in (next_hop, next_hop.rpartition(":")[0], next_hop.strip("[]")):
            found = found or self._passwords.get(key.casefold())
        if not found:
            return None
        username, _, password = found.partition(":")
        return {"username": username, "password": password}

    def _rule(self, type_: str, target_type: str, target: str, host: dict[str, Any]) -> None:
        """Adds a target to the rule with the same relay host, or a rule for it."""
        for rule in self._plan.objects.get("relay_rules", []):
            if (rule["type"], rule["target_type"], rule["relay_host"]) == (type_, target_type, host):
                rule["targets"].append(target)
                return
        number = len(self._plan.objects.get("relay_rules", [])) + 1
        name = f"postfix {number}: {host['host']} by {type_}"
        body = {"name": name, "type": type_, "target_type": target_type, "targets": [target], "relay_host": host}
        self._plan.add("relay_rules", body)


def _port(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else _PORTS.get(text or "", default)


def _why_not(transport: str) -> str:
    return {
        "lmtp": "LMTP serves local domains here, not addresses",
        "error": "mail is refused by access rules here, not by a transport",
        "retry": "there is no transport that only puts off",
        "discard": "mail is discarded by access rules here, not by a transport",
        "local": "there are no users of the system here; a domain has a mailbox server or Maildirs",
        "virtual": "a domain has one mailbox server or folder, which a local domain names",
    }.get(transport, f"the transport {transport} of master.cf has no counterpart")
