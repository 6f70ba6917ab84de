"""The restrictions of Postfix: smtpd restrictions, access tables and block lists, as policy settings and access
rules.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

from services.command_line.postfix.maps import MapError, read
from services.command_line.postfix.parameters import Parameters
from services.command_line.postfix.report import Plan

_LISTS = ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data")
# The restrictions that are switches in Posthouse, each with its section and member.
_SWITCHES = {
    "reject_non_fqdn_sender": ("sender_policy", "reject_non_fqdn_sender"),
    "reject_unknown_sender_domain": ("sender_policy", "reject_unknown_sender_domain"),
    "reject_non_fqdn_helo_hostname": ("advanced_security", "reject_non_fqdn_helo"),
    "reject_non_fqdn_hostname": ("advanced_security", "reject_non_fqdn_helo"),
    "reject_unknown_helo_hostname": ("advanced_security", "reject_unknown_helo"),
    "reject_unknown_hostname": ("advanced_security", "reject_unknown_helo"),
    "reject_unknown_client_hostname": ("connection_policy", "reject_unknown_client_hostname"),
    "reject_unknown_client": ("connection_policy", "reject_unknown_client_hostname"),
    "reject_unauth_pipelining": ("advanced_security", "reject_unauthorized_pipelining"),
}
# The restrictions that Posthouse always applies.
_ALWAYS = {
    "permit_mynetworks",
    "permit_sasl_authenticated",
    "reject_unauth_destination",
    "reject_unlisted_recipient",
    "reject_non_fqdn_recipient",
    "reject_invalid_helo_hostname",
    "reject_invalid_hostname",
    "reject_unknown_recipient_domain",
    "permit",
    "permit_auth_destination",
}
_LOGIN_CHECKS = {
    "reject_sender_login_mismatch",
    "reject_authenticated_sender_login_mismatch",
    "reject_unauthenticated_sender_login_mismatch",
    "reject_known_sender_login_mismatch",
}
_ACCESS = re.compile(r"check_(client|sender|recipient)_access")
_CODES = re.compile(r"\d+(\.\d+){3}")


class Restrictions:
    """Reads the lists of restrictions of the service on port 25."""

    def __init__(self, parameters: Parameters, folder: Path, plan: Plan) -> None:
        self._parameters = parameters
        self._folder = folder
        self._plan = plan
        self._zones: list[dict[str, Any]] = []
        below = "parent_domain_matches_subdomains"
        # Whether a key of an access table includes the subdomains.
        self._reaches_below = not parameters.is_set(below) or "smtpd_access_maps" in parameters[below]

    def read(self) -> None:
        for name in (f"smtpd_{each}_restrictions" for each in _LISTS):
            self._list(name)
        if self._zones:
            self._plan.set("content_checks", "dnsbl", {"mode": "enforce", "zones": self._zones})

    def _list(self, name: str) -> None:
        words = iter(self._parameters.words(name))
        for word in words:
            if word in ("warn_if_reject", "defer_if_permit", "defer_if_reject"):
                self._plan.unsupported(name, f"{word}: shadow mode is set for each rule here")
                # The next restriction must not be enforced.
                next(words, None)
            elif word in _SWITCHES:
                section, member = _SWITCHES[word]
                self._plan.set(section, member, "enforce")
                self._plan.converted(name, f"{word}: {section}.{member} enforces it")
            elif word in _LOGIN_CHECKS:
                self._plan.set("general", "smtp_auth.sender_must_match_login", True)
                self._plan.partly(name, f"{word}: a login may send from the addresses of its account")
            elif word == "reject_rbl_client":
                self._block_list(name, next(words, ""))
            elif access := _ACCESS.fullmatch(word):
                self._access(name, access[1], next(words, ""))
            elif word.startswith(("check_", "reject_rhsbl", "permit_dnswl", "permit_rhswl")):
                self._plan.unsupported(name, f"{word} {next(words, '')}: there is no such rule here")
            elif word == "defer_unauth_destination":
                self._plan.partly(name, f"{word}: relaying is refused for good here (554), and not put off (454)")
            elif word in _ALWAYS:
                self._plan.converted(name, f"{word}: always so here")
            else:
                self._plan.unsupported(name, f"{word}: there is no such rule here")

    def _block_list(self, name: str, zone: str) -> None:
        zone, _, codes = zone.partition("=")
        if codes and not _CODES.fullmatch(codes):
            self._plan.unsupported(name, f"reject_rbl_client {zone}={codes}: a code is one address here")
            return
        self._zones.append({"zone": zone, **({"codes": [codes]} if codes else {})})
        self._plan.converted(name, f"reject_rbl_client {zone}: content_checks.dnsbl")

    def _access(self, name: str, subject: str, table: str) -> None:
        try:
            entries = read(table, self._folder)
        except MapError as error:
            self._plan.unsupported(name, f"check_{subject}_access {table}: {error}")
            return
        if entries.is_static:
            self._plan.unsupported(name, f"check_{subject}_access {table}: a rule needs a value here")
            return
        for key, action in entries.entries:
            self._rule(name, subject, key, action)

    def _rule(self, name: str, subject: str, key: str, action: str) -> None:
        word, _, text = action.partition(" ")
        lists = {"REJECT": ("block", "reject"), "DISCARD": ("block", "discard"), "OK": ("allow", None)}
        if re.fullmatch(r"5\d\d", word):
            word, text = "REJECT", text or word
        list_, effect = lists.get(word.upper(), ("", None))
        criterion = _criterion(subject, key)
        if word.upper() == "DUNNO":
            return
        if not list_ or criterion is None:
            why = "the action" if criterion is not None else "the key"
            self._plan.unsupported(name, f"{key} {action}: {why} has no counterpart")
            return
        if list_ == "allow" and subject != "client":
            self._plan.unsupported(name, f"{key} OK: an allow rule here exempts from content checks, not from these")
            return
        kind, value = criterion
        rule: dict[str, Any] = {
            "name": f"postfix {subject} {key}"[:100],
            "list": list_,
            "criterion": kind,
            "value": value,
        }
        if effect:
            rule["action"] = effect
        self._plan.add("access_rules", rule)
        if kind == "domain" and self._reaches_below and not value.startswith("."):
            self._plan.add("access_rules", {**rule, "name": f"{rule['name'][:85]} and below", "value": f".{value}"})
        if text:
            self._plan.partly(name, f"{key} {word}: taken, with the text of Posthouse")
        else:
            self._plan.converted(name, f"{key} {word}: an access rule")


def _criterion(subject: str, key: str) -> tuple[str, str] | None:
    """Returns the criterion and the value of an access rule, or None when the key has no counterpart."""
    if subject == "client":
        try:
            network = ipaddress.ip_network(_whole(key))
        except ValueError:
            return None
        if network.num_addresses == 1:
            return "ip", str(network.network_address)
        return "network", str(network)
    if "@" in key:
        return (subject, key) if not key.endswith("@") and not key.startswith("@") else None
    if subject == "sender" and "." in key.strip("."):
        return "domain", key
    return None


def _whole(key: str) -> str:
    """Returns a key as a network: in hash tables `192.0.2` stands for 192.0.2.0/24."""
    parts = key.split(".")
    if 1 <= len(parts) < 4 and all(part.isdecimal() for part in parts):
        return f"{'.'.join(parts + ['0'] * (4 - len(parts)))}/{8 * len(parts)}"
    return key
