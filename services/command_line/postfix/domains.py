"""The domains of Postfix: local, virtual and relay domains with their recipients and aliases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from services.command_line.output import counted
from services.command_line.postfix.maps import MapError, alias_pairs, local_path, read
from services.command_line.postfix.next_hops import NextHops
from services.command_line.postfix.parameters import Parameters, split
from services.command_line.postfix.report import Plan

_TABLE = re.compile(r"[a-z]+:.+")
_DELIMITERS = "+-_."


class Domains:
    """Turns domains and address tables into local domains, relay domains, aliases and listed recipients."""

    def __init__(self, parameters: Parameters, folder: Path, plan: Plan, next_hops: NextHops) -> None:
        self._parameters = parameters
        self._folder = folder
        self._plan = plan
        self._next_hops = next_hops
        self._local: dict[str, dict[str, Any]] = {}

    def read(self, mailboxes: dict[str, dict[str, Any]]) -> None:
        """Reads all domains. `mailboxes` has the mailboxes of the domains whose transport is LMTP."""
        self._virtual_mailbox_domains(mailboxes)
        self._system_domains(mailboxes)
        self._virtual_alias_domains()
        self._relay_domains(mailboxes)
        self._virtual_aliases()
        delimiter = self._parameters["recipient_delimiter"]
        if delimiter:
            first = next((letter for letter in delimiter if letter in _DELIMITERS), None)
            if first is None:
                self._plan.unsupported("recipient_delimiter", f"{delimiter!r}: it is one of {_DELIMITERS} here")
            else:
                for domain in self._local.values():
                    domain["recipient_delimiter"] = first
                self._plan.converted("recipient_delimiter", f"{first} at every local domain")
        for domain in self._local.values():
            self._plan.add("local_domains", domain)

    def _names(self, parameter: str) -> list[str]:
        names, faults = _listed(self._parameters, parameter, self._folder)
        for fault in faults:
            self._plan.unsupported(parameter, fault)
        return names

    def _add_local(self, name: str, parameter: str, mailbox: dict[str, Any] | None, recipients: str) -> dict[str, Any]:
        domain = self._local.get(name)
        if domain is None:
            domain = self._local[name] = {"name": name, "mailbox": mailbox, "recipients": recipients}
            where = "held, since no mailbox is known" if mailbox is None else _place(mailbox)
            self._plan.converted(parameter, f"{name}: a local domain; its mail is {where}")
        return domain

    def _virtual_mailbox_domains(self, mailboxes: dict[str, dict[str, Any]]) -> None:
        addresses = self._next_hops.pairs("virtual_mailbox_maps")
        for name in self._names("virtual_mailbox_domains"):
            mailbox = mailboxes.get(name) or self._virtual_mailbox(name, addresses)
            if mailbox is None:
                transport = self._parameters["virtual_transport"]
                self._plan.partly("virtual_transport", f"{name}: {transport} is no mailbox here, so its mail is held")
            domain = self._add_local(name, "virtual_mailbox_domains", mailbox, "list")
            listed = [key for key, _ in addresses if key.endswith(f"@{name}") and not key.startswith("@")]
            self._plan.recipients += listed
            if any(key == f"@{name}" for key, _ in addresses):
                domain["recipients"] = "any"
                self._plan.converted("virtual_mailbox_maps", f"@{name}: every address of the domain exists")
            elif listed:
                self._plan.converted("virtual_mailbox_maps", f"{name}: {counted(len(listed), 'address', 'addresses')}")
            elif not self._parameters["virtual_mailbox_maps"]:
                domain["recipients"] = "any"
                self._plan.partly("virtual_mailbox_maps", f"{name}: none, so every address exists")

    def _virtual_mailbox(self, name: str, addresses: list[tuple[str, str]]) -> dict[str, Any] | None:
        transport = self._parameters["virtual_transport"]
        if transport.partition(":")[0] in ("lmtp", "smtp"):
            return self._next_hops.mailbox("virtual_transport", transport)
        if transport != "virtual":
            return None
        base = self._parameters["virtual_mailbox_base"]
        paths = [value for key, value in addresses if key.endswith(f"@{name}")]
        if not base or not paths or not all(path.endswith("/") for path in paths):
            return None
        path = f"{base.rstrip('/')}/{name}"
        self._plan.partly(
            "virtual_mailbox_base",
            f"{name}: a Maildir for each recipient below {path}; check that the folders are where Postfix had them",
        )
        return {"kind": "maildir", "path": path}

    def _system_domains(self, mailboxes: dict[str, dict[str, Any]]) -> None:
        """Reads mydestination, with the aliases of alias_maps. The users of the system, who are not accounts of
        Posthouse, are not read.
        """
        names = [name for name in self._names("mydestination") if name != "localhost" and "." in name]
        names = [name for name in names if not name.startswith("localhost.")]
        if not names:
            return
        transport = self._parameters["mailbox_transport"] or self._parameters["local_transport"]
        aliases = self._aliases(names)
        for name in names:
            mailbox = mailboxes.get(name)
            if mailbox is None and transport.partition(":")[0] in ("lmtp", "smtp"):
                mailbox = self._next_hops.mailbox("local_transport", transport)
            domain = self._add_local(name, "mydestination", mailbox, "list")
            for user, targets in aliases:
                self._plan.add("aliases", {"address": f"{user}@{name}", "targets": targets})
            tables = self._parameters.words("local_recipient_maps")
            if not tables:
                domain["recipients"] = "any"
                self._plan.partly("local_recipient_maps", f"{name}: none, so every address exists")
            elif any("passwd" in table for table in tables):
                self._plan.partly(
                    "local_recipient_maps",
                    f"{name}: the users of the system are not read; add them with `posthouse recipients import`",
                )
            self._plan.recipients += [
                key if "@" in key else f"{key}@{name}"
                for table in tables
                if "passwd" not in table and table not in self._parameters.words("alias_maps")
                for key, _ in self._entries("local_recipient_maps", table)
                if not key.startswith("@") and ("@" not in key or key.endswith(f"@{name}"))
            ]

    def _entries(self, parameter: str, table: str) -> list[tuple[str, str]]:
        try:
            return list(read(table, self._folder).entries)
        except MapError as error:
            self._plan.unsupported(parameter, str(error))
            return []

    def _aliases(self, names: list[str]) -> list[tuple[str, list[str]]]:
        """Returns the entries of alias_maps whose targets are all addresses."""
        aliases = []
        for table in self._parameters.words("alias_maps"):
            kind, _, name = table.partition(":")
            if kind not in ("hash", "lmdb", "btree", "cdb", "dbm"):
                self._plan.unsupported("alias_maps", f"tables of type {kind} can't be read")
                continue
            try:
                pairs = alias_pairs(local_path(name, self._folder).read_text("utf-8", "surrogateescape"))
            except OSError as error:
                self._plan.unsupported("alias_maps", f"{name} can't be read: {error.strerror}")
                continue
            for key, value in pairs:
                targets = self._targets("alias_maps", key, value, names[0])
                if targets:
                    aliases.append((key, targets))
                    self._plan.converted("alias_maps", f"{key}: to {', '.join(targets)}")
        return aliases

    def _targets(self, parameter: str, key: str, value: str, domain: str) -> list[str]:
        """Returns the addresses of an alias. If one target is not an address, the whole alias is left out, because
        otherwise mail would be lost without notice.
        """
        words = split(value)
        bad = next((word for word in words if word[0] in '|/"\\' or word.startswith(":include:")), None)
        if bad is not None:
            self._plan.unsupported(parameter, f"{key}: {bad} is no address; there are no commands, files or lists here")
            return []
        return [word.casefold() if "@" in word else f"{word.casefold()}@{domain}" for word in words]

    def _virtual_alias_domains(self) -> None:
        for name in self._names("virtual_alias_domains"):
            if "." in name:
                self._add_local(name, "virtual_alias_domains", None, "accounts")

    def _relay_domains(self, mailboxes: dict[str, dict[str, Any]]) -> None:
        addresses = self._next_hops.pairs("relay_recipient_maps")
        names = [name for name in self._names("relay_domains") if name not in self._local]
        for name in names:
            if name.startswith("."):
                self._plan.unsupported("relay_domains", f"{name}: each sub-domain must be named here")
                continue
            listed = [key for key, _ in addresses if key.endswith(f"@{name}") and not key.startswith("@")]
            every = not self._parameters["relay_recipient_maps"] or any(key == f"@{name}" for key, _ in addresses)
            recipients = "any" if every else "list"
            if name in mailboxes:
                self._add_local(name, "relay_domains", mailboxes[name], recipients)
            else:
                body: dict[str, Any] = {"name": name, "domain": name, "recipients": recipients}
                if (next_hop := self._next_hops.of_relay_domains.get(name)) is not None:
                    body["next_hop"] = next_hop
                self._plan.add("relay_domains", body)
                self._plan.converted("relay_domains", f"{name}: a relay domain")
            self._plan.recipients += [] if every else listed
            if every:
                self._plan.partly("relay_recipient_maps", f"{name}: every address exists; mail for nobody bounces")
            else:
                self._plan.converted("relay_recipient_maps", f"{name}: {counted(len(listed), 'address', 'addresses')}")
        below = "parent_domain_matches_subdomains"
        if names and (not self._parameters.is_set(below) or "relay_domains" in self._parameters[below]):
            self._plan.partly(
                "relay_domains", "Postfix accepts mail for their sub-domains too; here each must be named"
            )

    def _virtual_aliases(self) -> None:
        origin = self._parameters["myorigin"]
        if origin.startswith("/"):
            origin = self._parameters["myhostname"]
        for key, value in self._next_hops.pairs("virtual_alias_maps"):
            if key.startswith("@"):
                self._catch_all(key[1:], value, origin)
                continue
            if "@" not in key:
                if "." not in key:
                    self._plan.unsupported("virtual_alias_maps", f"{key}: an address needs a domain here")
                continue
            targets = self._targets("virtual_alias_maps", key, value, origin)
            if targets:
                self._plan.add("aliases", {"address": key, "targets": targets})
                self._plan.converted("virtual_alias_maps", f"{key}: to {', '.join(targets)}")

    def _catch_all(self, name: str, value: str, origin: str) -> None:
        targets = self._targets("virtual_alias_maps", f"@{name}", value, origin)
        domain = self._local.get(name)
        if domain is None or len(targets) != 1 or targets[0].startswith("@"):
            self._plan.unsupported(
                "virtual_alias_maps", f"@{name}: a catch-all is one address, and its domain a local one here"
            )
            return
        domain["catch_all"] = targets[0]
        self._plan.converted("virtual_alias_maps", f"@{name}: every other address goes to {targets[0]}")


def relay_domain_names(parameters: Parameters, folder: Path) -> frozenset[str]:
    """Returns the relay domains that are not local domains, for which a next hop can be configured."""
    names = set(_listed(parameters, "relay_domains", folder)[0])
    for parameter in ("virtual_mailbox_domains", "mydestination", "virtual_alias_domains"):
        names.difference_update(_listed(parameters, parameter, folder)[0])
    return frozenset(names)


def _listed(parameters: Parameters, parameter: str, folder: Path) -> tuple[list[str], list[str]]:
    """Returns the domains of a list, including the keys of tables in it, and the parts that cannot be read."""
    names: list[str] = []
    faults: list[str] = []
    for word in parameters.words(parameter):
        if _TABLE.fullmatch(word):
            try:
                names += [key for key, _ in read(word, folder).entries if "@" not in key]
            except MapError as error:
                faults.append(str(error))
        elif word.startswith("!") or "/" in word:
            faults.append(f"{word}: only names and tables are read")
        else:
            names.append(word.casefold())
    return list(dict.fromkeys(names)), faults


def _place(mailbox: dict[str, Any]) -> str:
    if mailbox["kind"] == "maildir":
        return f"written below {mailbox['path']}"
    return f"handed to {mailbox['host']}:{mailbox['port']} over {mailbox['kind'].upper()}"
