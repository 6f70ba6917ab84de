"""The next hops of Postfix: relayhost, relay hosts by sender, transports, logins and TLS, as delivery settings and
relay rules.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.command_line.output import counted
from services.command_line.postfix.mail_exchangers import MailExchangers, NoMailExchangerError
from services.command_line.postfix.maps import read_all
from services.command_line.postfix.parameters import Parameters, split
from services.command_line.postfix.report import Plan
from services.command_line.postfix.tls_levels import TlsLevel, TlsLevels

_NEXT_HOP = re.compile(r"(?P<bracket>\[)?(?P<host>[^\]:\s]+|[^\]\s]*:[^\]\s]*(?=\]))(?(bracket)\])(?::(?P<port>\w+))?")
_PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465, "lmtp": 24}
_SMTP_TRANSPORTS = ("smtp", "relay", "esmtp", "smtps")
# A list of next hops has a first one and at most seven fallback hosts.
_MOST_HOSTS = 8


class NextHops:
    """Reads next hops with the logins and TLS levels that Postfix would use for them."""

    def __init__(
        self, parameters: Parameters, folder: Path, plan: Plan, look_up: MailExchangers, relay_domains: Collection[str]
    ) -> None:
        self._parameters = parameters
        self._folder = folder
        self._plan = plan
        self._look_up = look_up
        self._relay_domains = relay_domains
        self._passwords: dict[str, str] = {}
        if parameters.is_on("smtp_sasl_auth_enable"):
            self._passwords = dict(self.pairs("smtp_sasl_password_maps"))
        self._tls = {
            client: TlsLevels(parameters, self._policies(f"{client}_tls_policy_maps"), client)
            for client in ("smtp", "lmtp")
        }
        # The servers of relay domains in transport_maps, by the names of the domains.
        self.of_relay_domains: dict[str, dict[str, Any]] = {}

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """Returns the entries of all tables of a parameter. Tables that cannot be read are reported."""
        tables, faults = read_all(self._parameters.words(name), self._folder)
        for fault in faults:
            self._plan.unsupported(name, fault)
        pairs: dict[str, str] = {}
        for table in tables:
            for key, value in table.entries:
                pairs.setdefault(key, value)
        return list(pairs.items())

    def _policies(self, name: str) -> dict[str, str]:
        """Returns the levels by destination. The key `*` comes from a static table, after which no other table is
        used.
        """
        tables, faults = read_all(self._parameters.words(name), self._folder)
        for fault in faults:
            self._plan.unsupported(name, fault)
        policies: dict[str, str] = {}
        for table in tables:
            for key, value in table.entries:
                if table.is_static or key != "*":
                    policies.setdefault(key, value)
                else:
                    self._plan.unsupported(name, "*: Postfix looks up no such key")
            if table.is_static:
                break
        return policies

    def all_mail(self) -> None:
        """Reads relayhost, and the TLS level of all mail without a next hop. Call it after `transports`."""
        relayhost = self._parameters["relayhost"]
        if relayhost:
            host = self.relay_host("relayhost", relayhost)
            if host is not None:
                self._plan.set("delivery", "mode", "relay_host")
                self._plan.set("delivery", "relay_host", host)
                self._plan.converted("relayhost", f"all mail that nothing else takes goes through {_place(host)}")
        elif self._parameters.is_set("relayhost"):
            self._plan.converted("relayhost", "none: mail goes to the MX hosts of each domain")
        if self._plan.settings.get("delivery", {}).get("mode") != "relay_host":
            self._tls["smtp"].of_all_mail(self._plan)
            if self._parameters["smtp_fallback_relay"]:
                self._plan.unsupported("smtp_fallback_relay", "direct mail has no other way than the MX hosts")

    def other_policies(self) -> None:
        """Adds the policies for direct mail. Call this last: it leaves out the levels that a next hop has used."""
        for levels in self._tls.values():
            levels.of_domains(self._plan)
        for policy in self._plan.objects.get("tls_policies", []):
            if policy["domain"] in self._relay_domains:
                self._plan.unsupported(
                    "smtp_tls_policy_maps",
                    f"{policy['domain']}: a relay domain whose MX accepts its mail uses STARTTLS when it is offered; "
                    "name its server as next_hop, with tls",
                )

    def by_sender(self) -> None:
        for key, value in self.pairs("sender_dependent_relayhost_maps"):
            host = self.relay_host("sender_dependent_relayhost_maps", value, sender=key)
            if host is None:
                continue
            is_domain = key.startswith("@")
            self._rule("sender", "domain" if is_domain else "address", key.removeprefix("@"), host)
            self._plan.converted("sender_dependent_relayhost_maps", f"mail from {key} goes through {host['host']}")

    def transports(self) -> dict[str, dict[str, Any]]:
        """Reads the rules of transport_maps. Returns the mailboxes of domains whose transport is LMTP."""
        mailboxes = {}
        for key, value in self.pairs("transport_maps"):
            transport, _, next_hop = value.partition(":")
            transport = transport or self._parameters["relay_transport"].partition(":")[0]
            if transport == "lmtp" and "@" not in key and (mailbox := self.mailbox("transport_maps", value)):
                mailboxes[key] = mailbox
            elif transport not in _SMTP_TRANSPORTS:
                self._plan.unsupported("transport_maps", f"{key}: {_why_not(transport)}")
            elif key == "*":
                self._every_domain(next_hop)
            elif not next_hop:
                self._plan.partly("transport_maps", f"{key}: no next hop is named, so its mail goes to its MX, as here")
            else:
                self._by_recipient(key, transport, next_hop)
        return mailboxes

    def _by_recipient(self, key: str, transport: str, next_hop: str) -> None:
        """Adds a next hop for a relay domain. For any other domain, or when its server needs a login, adds a relay
        rule.
        """
        if key in self._relay_domains and self._login(split(next_hop)[0], "") is None:
            server = self.mailbox("transport_maps", f"smtp:{next_hop}", has_fallback=transport == "smtp")
            if server is not None:
                self.of_relay_domains[key] = server
                self._plan.converted("transport_maps", f"mail to {key} goes to {_place(server)}")
        else:
            host = self.relay_host("transport_maps", next_hop, has_fallback=transport == "smtp")
            if host is None:
                return
            self._rule("recipient", "address" if "@" in key else "domain", key, host)
            self._plan.converted("transport_maps", f"mail to {key} goes through {_place(host)}")
        if "@" not in key and not key.startswith("."):
            self._plan.partly("transport_maps", f"{key}: sub-domains only where the table has .{key}")

    def _every_domain(self, next_hop: str) -> None:
        host = self.relay_host("transport_maps", next_hop) if next_hop else None
        if host is None:
            self._plan.unsupported("transport_maps", "*: it names no next hop")
            return
        self._plan.set("delivery", "mode", "relay_host")
        self._plan.set("delivery", "relay_host", host)
        self._plan.converted("transport_maps", f"*: all mail that nothing else takes goes through {_place(host)}")

    def mailbox(self, parameter: str, value: str, *, has_fallback: bool = False) -> dict[str, Any] | None:
        """Returns the mailbox server of a transport `lmtp:inet:host:port` or `smtp:[host]:port`, or None when it has
        another form.
        """
        transport, _, next_hop = value.partition(":")
        client = "lmtp" if transport == "lmtp" else "smtp"
        if client == "lmtp" and next_hop.startswith("unix:"):
            self._plan.unsupported(parameter, f"{value}: LMTP goes over TCP here, not through a Unix socket")
            return None
        words = [word.removeprefix("inet:") for word in split(next_hop)]
        if not words or _NEXT_HOP.fullmatch(words[0]) is None:
            return None
        tls = self._tls[client].of(words[0])
        self._report_unsupported(parameter, words[0], tls)
        server: dict[str, Any] = {"kind": client}
        server |= self._hosts(parameter, words, client, has_fallback=has_fallback)
        if tls.level is not None:
            server["tls"] = tls.level
        return server

    def relay_host(
        self, parameter: str, next_hop: str, sender: str = "", *, has_fallback: bool = True
    ) -> dict[str, Any] | None:
        """Returns a relay host with login and TLS in the form of the API. Reports a next hop that is not valid in
        Posthouse, and returns None for it.
        """
        words = split(next_hop)
        if not words or _NEXT_HOP.fullmatch(words[0]) is None:
            self._plan.unsupported(parameter, f"{next_hop!r} is no next hop")
            return None
        first = words[0]
        host = self._hosts(parameter, words, "smtp", sender, has_fallback=has_fallback)
        tls = self._tls["smtp"].of(first)
        if self._parameters.is_on("smtp_tls_wrappermode"):
            host["implicit_tls"] = True
        elif host["port"] == _PORTS["smtps"]:
            host["implicit_tls"] = False
        if tls.is_strict:
            host["always_tls"] = True
            host["verify_certificate"] = tls.level == "verify"
        elif tls.level == "none":
            self._plan.partly(parameter, f"{first}: {tls.parameter}=none; here STARTTLS is used when it is offered")
        self._report_unsupported(parameter, first, tls)
        login = self._login(first, sender)
        if login is not None:
            host["auth"] = login
            if not host.get("always_tls") and not host.get("implicit_tls"):
                login["allow_without_tls"] = True
                self._plan.partly(
                    parameter, f"{first}: the password may go over a connection without TLS, as in Postfix"
                )
        return host

    def _report_unsupported(self, parameter: str, next_hop: str, tls: TlsLevel) -> None:
        if tls.level is None and tls.word:
            self._plan.unsupported(tls.parameter, f"{next_hop}: {tls.word!r} is no level")
        elif tls.parameter.endswith("_policy_maps"):
            self._plan.converted(tls.parameter, f"{next_hop}: {tls.level}, as {parameter} names it")
        for text in tls.unsupported_parts:
            self._plan.partly(tls.parameter, f"{next_hop}: {tls.word}: {text}")

    def _hosts(
        self, parameter: str, next_hops: Sequence[str], client: str, sender: str = "", *, has_fallback: bool
    ) -> dict[str, Any]:
        """Returns host, port and fallback_hosts of a list of next hops, whose first one is valid. A host with another
        login or TLS level than the first is left out, because in Posthouse all hosts of a list have the same login and
        level.
        """
        first, *others = next_hops
        hosts = self._hosts_of(parameter, first, client)
        fallback = self._parameters.words("smtp_fallback_relay") if has_fallback and client == "smtp" else []
        for name, words in ((parameter, others), ("smtp_fallback_relay", fallback)):
            for word in words:
                if _NEXT_HOP.fullmatch(word) is None:
                    self._plan.unsupported(name, f"{word!r} is no next hop")
                elif self._login(word, sender) != self._login(first, sender):
                    self._plan.unsupported(
                        name, f"{word}: after {first}, only a host with the same login is tried here"
                    )
                elif self._tls[client].of(word).level != self._tls[client].of(first).level:
                    self._plan.unsupported(name, f"{word}: after {first}, only a host with the same TLS level is tried")
                else:
                    hosts += self._hosts_of(name, word, client)
                    self._plan.partly(
                        name,
                        f"{word}: tried when no connection to {first} comes about, or when that refuses the session "
                        "for now; after any other refusal for now a message waits for its next attempt",
                    )
        hosts = list({(host["host"], host["port"]): host for host in hosts}.values())
        if len(hosts) > _MOST_HOSTS:
            self._plan.partly(parameter, f"{first}: of {len(hosts)} hosts the first {_MOST_HOSTS} are taken")
        host, *more = hosts[:_MOST_HOSTS]
        return {**host, "fallback_hosts": more} if more else host

    def _hosts_of(self, parameter: str, next_hop: str, client: str) -> list[dict[str, Any]]:
        """Returns the hosts of one next hop: the host itself, or its MX hosts if it has no brackets and is not an
        address.
        """
        parsed = _NEXT_HOP.fullmatch(next_hop)
        assert parsed is not None  # noqa: S101 - its callers have looked
        port = _port(parsed["port"], _PORTS[client])
        name = parsed["host"].casefold().removeprefix("ipv6:")
        if parsed["bracket"] or client == "lmtp" or _is_address(name):
            return [{"host": name, "port": port}]
        try:
            names = self._look_up(name)
        except NoMailExchangerError as error:
            why = "the DNS gave no answer for its MX" if error.is_silent else "its MX says that it accepts no mail"
            self._plan.partly(parameter, f"{next_hop}: {why}, so it is taken for the name of a host")
            names = [name]
        if names == [name]:
            return [{"host": name, "port": port}]
        listed = f"{counted(len(names), 'MX host')}: {', '.join(names)}"
        self._plan.partly(
            parameter, f"{next_hop}: the DNS names {listed}. They are kept as they are; import again when they change"
        )
        return [{"host": each, "port": port} for each in names]

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
        """Adds a target to the rule with the same relay host, or adds a rule for it."""
        for rule in self._plan.objects.get("relay_rules", []):
            if (rule["type"], rule["target_type"], rule["relay_host"]) == (type_, target_type, host):
                rule["targets"].append(target)
                return
        number = len(self._plan.objects.get("relay_rules", [])) + 1
        name = f"postfix {number}: {host['host']} by {type_}"
        body = {"name": name, "type": type_, "target_type": target_type, "targets": [target], "relay_host": host}
        self._plan.add("relay_rules", body)


def _place(host: Mapping[str, Any]) -> str:
    more = len(host.get("fallback_hosts", ()))
    others = f" or {counted(more, 'other host')}" if more else ""
    return f"{host['host']}:{host['port']}{others}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


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
