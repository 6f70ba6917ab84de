"""The search of the messages: the possible meanings of a text, as filters of the API. This module is pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from libs.smtp.network import canonical_ip

_QUEUE_ID = re.compile(r"[0-9A-F]{10,20}")
_SESSION_ID = re.compile(r"[0-9a-f]{32}")
_RULE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DOMAIN = re.compile(r"@?[^\s@:<>]+\.[^\s@:<>]+")

# The words that may be written before a colon, with their filters.
PREFIXES: Mapping[str, tuple[str, str]] = {
    "id": ("queue_id", "The queue id is"),
    "from-domain": ("sender_domain", "The sender's domain is"),
    "to-domain": ("recipient_domain", "A recipient's domain is"),
    "address": ("address_contains", "An address contains"),
    "from": ("sender", "The sender is"),
    "to": ("recipient", "A recipient is"),
    "subject": ("subject_contains", "The subject contains"),
    "reply": ("last_reply_contains", "The last reply contains"),
    "state": ("state", "The state is"),
    "destination": ("destination", "The destination is"),
    "login": ("account_login", "The account is"),
    "client": ("client_address", "The client is"),
    "session": ("session_id", "The session is"),
    "message-id": ("message_id", "The Message-ID is"),
    "envelope": ("envelope_id", "The envelope id is"),
    "reason": ("reason_id", "The rule that refused is"),
    "rule": ("rule_id", "The access rule that decided is"),
    "shadow": ("shadow_reason_id", "The rule in shadow mode is"),
    "shadow-rule": ("shadow_rule_id", "The access rule in shadow mode is"),
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """One meaning of the typed text: a filter of the API, with a sentence, and with a text that has only this
    meaning.
    """

    sentence: str
    filters: Mapping[str, str]

    @property
    def typed(self) -> str:
        """Returns the text with a prefix, so that it has only this meaning."""
        parameter, value = next(iter(self.filters.items()))
        prefix = next((name for name, (known, _) in PREFIXES.items() if known == parameter), "")
        return f"{prefix}:{value}" if prefix else value


def meanings(text: str) -> list[Meaning]:
    """Returns the possible meanings of a text, the most likely first. The result is empty for an empty text."""
    text = text.strip()
    if not text:
        return []
    name, colon, value = text.partition(":")
    if colon and name.lower() in PREFIXES and value.strip():
        parameter, sentence = PREFIXES[name.lower()]
        return [_meaning(sentence, parameter, value.strip())]
    readings: list[Meaning] = []
    if _QUEUE_ID.fullmatch(text.upper()):
        readings.append(_meaning("The queue id is", "queue_id", text.upper()))
    if _SESSION_ID.fullmatch(text.lower()):
        readings.append(_meaning("The session is", "session_id", text.lower()))
    if _RULE_ID.fullmatch(text.lower()):
        readings.append(_meaning("The access rule that decided is", "rule_id", text.lower()))
        readings.append(_meaning("The access rule in shadow mode is", "shadow_rule_id", text.lower()))
    if _is_ip_address(text):
        return [_meaning("The client is", "client_address", text)]
    if "@" in text.strip("@"):
        readings.append(_meaning("The Message-ID is", "message_id", text))
        if not text.startswith("<"):
            readings.append(_meaning("A recipient is", "recipient", text))
            readings.append(_meaning("The sender is", "sender", text))
    elif _DOMAIN.fullmatch(text):
        domain = text.removeprefix("@")
        readings.append(_meaning("The sender's domain is", "sender_domain", domain))
        readings.append(_meaning("A recipient's domain is", "recipient_domain", domain))
    if " " not in text and not text.startswith("<"):
        readings.append(_meaning("An address contains", "address_contains", text))
    readings.append(_meaning("The subject contains", "subject_contains", text))
    return readings


def _is_ip_address(text: str) -> bool:
    try:
        canonical_ip(text)
    except ValueError:
        return False
    return True


def _meaning(sentence: str, parameter: str, value: str) -> Meaning:
    return Meaning(f"{sentence} {value}", {parameter: value})
