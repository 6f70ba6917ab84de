"""The TLS levels of Postfix's SMTP and LMTP clients, by destination, and their counterparts in Posthouse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.command_line.postfix.parameters import Parameters, split
from services.command_line.postfix.report import Plan

# The levels of next hops and of /v1/tls-policies.
Level = Literal["none", "may", "encrypt", "verify"]

_LEVELS: Mapping[str, Level] = {
    "none": "none",
    "may": "may",
    "dane": "may",
    "encrypt": "encrypt",
    "dane-only": "encrypt",
    "fingerprint": "encrypt",
    "verify": "verify",
    "secure": "verify",
}
_WEAKER: Mapping[str, str] = {
    "dane-only": "mail to a domain without TLSA records is not put off: it goes over TLS with any certificate",
    "fingerprint": "fingerprints are not compared: any certificate is taken",
}
_DOMAIN = re.compile(r"\.?(?!-)[\w-]+(\.[\w-]+)*")


@dataclass(frozen=True, slots=True)
class TlsLevel:
    """A level of Postfix: its word, its attributes such as `match=…`, and the parameter that sets it."""

    word: str
    attributes: tuple[str, ...]
    parameter: str

    @property
    def level(self) -> Level | None:
        """Returns the level in Posthouse, or None when Postfix's configuration sets none, or an unknown one."""
        return _LEVELS.get(self.word)

    @property
    def is_strict(self) -> bool:
        return self.level in ("encrypt", "verify")

    @property
    def unsupported_parts(self) -> list[str]:
        """Returns the parts that have no counterpart in Posthouse."""
        names = [attribute.partition("=")[0] for attribute in self.attributes]
        texts = [_WEAKER[self.word]] if self.word in _WEAKER else []
        if "match" in names:
            texts.append("match: the certificate must be valid for the name of the host, and for no other one")
        others = [name for name in names if name != "match"]
        if others:
            texts.append(f"{', '.join(others)}: no destination has such settings of its own")
        return texts


class TlsLevels:
    """Finds the level of a destination as Postfix does. `client` is smtp or lmtp, whose parameters are read."""

    def __init__(self, parameters: Parameters, policies: Mapping[str, str], client: str = "smtp") -> None:
        self._policies = policies
        self._parameter = f"{client}_tls_policy_maps"
        self._used: set[str] = set()
        self.default = _default(parameters, client)

    def of(self, destination: str) -> TlsLevel:
        """Returns the level for a domain or a next hop. A next hop with brackets or port matches only an equal key."""
        key = destination.casefold()
        while True:
            if key in self._policies:
                self._used.add(key)
                return self._read(self._policies[key])
            if not _DOMAIN.fullmatch(key) or "." not in key[1:]:
                return self._read(self._policies["*"]) if "*" in self._policies else self.default
            key = key[key.index(".", 1) :]

    def of_domains(self, plan: Plan) -> None:
        """Adds the levels that no next hop has used as policies for direct mail, and reports keys that match no
        mail.
        """
        for key, value in self._policies.items():
            if key in self._used or key == "*":
                continue
            tls = self._read(value)
            if not _DOMAIN.fullmatch(key) or "." not in key.strip("."):
                plan.unsupported(self._parameter, f"{key}: no next hop of this configuration is written so")
            elif tls.level is None:
                plan.unsupported(self._parameter, f"{key}: {value!r} is no level")
            else:
                unsupported_parts = tls.unsupported_parts
                if tls.word == "secure":
                    unsupported_parts.append("the certificate must be valid for the MX host, whose name the DNS says")
                plan.add("tls_policies", {"domain": key, "level": tls.level})
                plan.converted(self._parameter, f"direct mail to {key}: {tls.level}")
                for text in unsupported_parts:
                    plan.partly(self._parameter, f"{key}: {tls.word}: {text}")

    def _read(self, value: str) -> TlsLevel:
        word, *attributes = split(value) or [""]
        return TlsLevel(word.casefold(), tuple(attributes), self._parameter)

    def of_all_mail(self, plan: Plan) -> None:
        """Reports the counterpart of the level for all destinations, when mail is sent directly to the MX of each
        domain.
        """
        tls = self._read(self._policies["*"]) if "*" in self._policies else self.default
        if tls.is_strict:
            plan.unsupported(
                tls.parameter,
                f"{tls.word} for all direct mail: here STARTTLS is used when it is offered, MTA-STS is followed, and "
                "so is DANE if it is enabled. Name the domains that must have TLS with `posthouse tls add`",
            )
        elif tls.level == "none":
            plan.partly(tls.parameter, "none for all direct mail: here STARTTLS is used when it is offered")
        elif tls.level is not None:
            plan.converted(
                tls.parameter, f"{tls.word} for direct mail: STARTTLS when it is offered, DANE if it is enabled"
            )
        elif tls.word:
            plan.unsupported(tls.parameter, f"{tls.word!r} is no level")


def _default(parameters: Parameters, client: str) -> TlsLevel:
    """Returns the level without a policy. The old parameters smtp_use_tls and smtp_enforce_tls are used if no new one
    is set.
    """
    name = f"{client}_tls_security_level"
    if parameters[name]:
        return TlsLevel(parameters[name].casefold(), (), name)
    if parameters.is_on(f"{client}_enforce_tls"):
        peername = f"{client}_tls_enforce_peername"
        verifies = not parameters.is_set(peername) or parameters.is_on(peername)
        return TlsLevel("verify" if verifies else "encrypt", (), f"{client}_enforce_tls")
    if parameters.is_on(f"{client}_use_tls"):
        return TlsLevel("may", (), f"{client}_use_tls")
    return TlsLevel("", (), name)
