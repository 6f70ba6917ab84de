"""main.cf and master.cf as Postfix reads them (postconf(5), master(5)): lines, $variables, overrides of a service."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# The defaults of Postfix for the parameters that the import reads.
DEFAULTS: Mapping[str, str] = {
    "config_directory": "/etc/postfix",
    "mail_name": "Postfix",
    "myhostname": "localhost.localdomain",
    "mydomain": "",
    "myorigin": "$myhostname",
    "mydestination": "$myhostname, localhost.$mydomain, localhost",
    "mynetworks": "",
    "mynetworks_style": "host",
    "relay_domains": "",
    "relayhost": "",
    "alias_maps": "",
    "local_recipient_maps": "proxy:unix:passwd.byname $alias_maps",
    "local_transport": "local:$myhostname",
    "relay_transport": "relay",
    "virtual_transport": "virtual",
    "virtual_alias_maps": "",
    "virtual_alias_domains": "$virtual_alias_maps",
    "virtual_mailbox_domains": "$virtual_mailbox_maps",
    "virtual_mailbox_maps": "",
    "virtual_mailbox_base": "",
    "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
    "smtp_tls_security_level": "",
    "anvil_rate_time_unit": "60s",
}
# A reference to a parameter in one of its forms: {name}, (name), name, with ?value or :value.
_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{\s*([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}|\(\s*(\w+)\s*\))")
_CONDITION = re.compile(r"(\w+)\s*([?:])\s*(.*)", re.DOTALL)
_IN_BRACES = re.compile(r"\{\s*(.*?)\s*\}\s*(?::\s*(?:\{\s*(.*?)\s*\}|(.*)))?", re.DOTALL)
_MOST_NESTED = 30
_TIME = re.compile(r"(\d+)([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def logical_lines(text: str) -> Iterator[str]:
    """Yields lines without comments. A line that begins with a blank continues the line before it."""
    line = ""
    for physical in text.splitlines():
        if not physical.strip() or physical.lstrip().startswith("#"):
            continue
        if physical[0] in " \t" and line:
            line = f"{line} {physical.strip()}"
            continue
        if line:
            yield line
        line = physical.rstrip()
    if line:
        yield line


@dataclass(frozen=True, slots=True)
class Service:
    """An entry of master.cf that listens, for example `submission inet`. `overrides` are its -o options."""

    name: str
    command: str
    overrides: Mapping[str, str] = field(default_factory=dict)


class Parameters:
    """The parameters of main.cf, overridden by those of a service of master.cf."""

    def __init__(self, given: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> None:
        self.given = dict(given)
        self._values = {**DEFAULTS, **given, **(overrides or {})}
        if not self._values["mydomain"]:
            self._values["mydomain"] = self["myhostname"].partition(".")[2] or "localdomain"

    def of(self, service: Service) -> Parameters:
        return Parameters(self.given, service.overrides)

    def is_set(self, name: str) -> bool:
        return name in self.given

    def __getitem__(self, name: str) -> str:
        """Returns the value with its $variables replaced. The result is empty for a parameter that is neither set nor
        known.
        """
        return " ".join(self._expanded(self._values.get(name, ""), _MOST_NESTED).split())

    def words(self, name: str) -> list[str]:
        """Returns the value as a list, split at commas and blanks, except within braces."""
        return split(self[name])

    def number(self, name: str) -> int | None:
        return int(value) if (value := self[name]).isdecimal() else None

    def seconds(self, name: str) -> int | None:
        """Returns a time such as `30s` or `5d` in seconds, or None when none is set."""
        found = _TIME.fullmatch(self[name])
        default = {"maximal_queue_lifetime": "d", "bounce_queue_lifetime": "d", "delay_warning_time": "h"}.get(
            name, "s"
        )
        return int(found[1]) * _SECONDS[found[2] or default] if found else None

    def is_on(self, name: str) -> bool:
        return self[name].lower() == "yes"

    def _expanded(self, text: str, nested: int) -> str:
        if nested == 0:
            return text

        def replacement(found: re.Match[str]) -> str:
            if found[0] == "$$":
                return "$"
            name = found[1] or found[3] or (found[2] or "").strip()
            condition = _CONDITION.fullmatch(name)
            if condition is None:
                return self._expanded(self._values.get(name, ""), nested - 1)
            is_empty = not self._expanded(self._values.get(condition[1], ""), nested - 1)
            braces = _IN_BRACES.fullmatch(condition[3])
            then, otherwise = (braces[1], braces[2] or braces[3] or "") if braces else (condition[3], "")
            if condition[2] == ":":
                then, otherwise = "", then
            return self._expanded(otherwise if is_empty else then, nested - 1)

        return _REFERENCE.sub(replacement, text)


def split(text: str) -> list[str]:
    """Splits a text into words at commas and blanks. A text in braces is one word."""
    return re.findall(r"(?:[^\s,{}]|\{(?:[^{}]|\{[^{}]*\})*\})+", text)


def read_main(text: str) -> dict[str, str]:
    """Returns the parameters that main.cf sets. If one is set several times, the last value is used."""
    given = {}
    for line in logical_lines(text):
        name, equals, value = line.partition("=")
        if equals:
            given[name.strip()] = value.strip()
    return given


def read_master(text: str) -> list[Service]:
    """Returns the services of master.cf that listen on a port."""
    services = []
    for line in logical_lines(text):
        words = re.findall(r"\{[^{}]*\}|\S+", line)
        if len(words) < 8 or words[1] != "inet":
            continue
        overrides: dict[str, str] = {}
        arguments = iter(words[8:])
        for word in arguments:
            if word == "-o":
                name, _, value = next(arguments, "").strip("{} ").partition("=")
                overrides[name.strip()] = value.strip()
        services.append(Service(words[0], words[7], overrides))
    return services
