"""MTA-STS policies as values (RFC 8461 3.1, 3.2), and the MX hosts that a policy allows (4.1). This module is pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_RECORD_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_LONGEST_AGE = 31_557_600
_PATTERN = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Policy:
    # One of enforce, testing, none.
    mode: str
    # The lifetime of the policy, in seconds.
    max_age: int
    # Host names, or `*.` with a name, in lower case and without a trailing dot.
    hosts: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        """Returns whether the policy allows the MX host (A-labels, no final dot). `*` stands for exactly one label."""
        name = host.lower().rstrip(".")
        parent = name.partition(".")[2]
        return any(pattern == name or (bool(parent) and pattern == f"*.{parent}") for pattern in self.hosts)


def record_id(texts: Sequence[bytes]) -> str:
    """Returns the id of the domain's policy record. The result is empty when there is no record, more than one, or
    one without a valid id (RFC 8461 3.1).
    """
    records = [text for text in texts if re.match(rb"v=STSv1[ \t]*(;|\Z)", text)]
    if len(records) != 1:
        return ""
    ids = []
    for field in records[0].decode("ascii", "replace").split(";")[1:]:
        name, equals, value = field.strip(" \t").partition("=")
        if equals and name.rstrip(" \t") == "id":
            ids.append(value.strip(" \t"))
    return ids[0] if ids and _RECORD_ID.fullmatch(ids[0]) else ""


def parse(body: bytes) -> Policy:
    """Reads a policy file. Raises ValueError with the reason.

    When a field other than `mx` is repeated, the first one is used. Unknown fields are ignored (RFC 8461 3.2).
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in text.replace("\r\n", "\n").rstrip("\n").split("\n"):
        name, colon, value = line.partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not colon or not name:
            raise ValueError("a line without a colon")
        if name == "mx":
            hosts.append(_host(value))
        else:
            fields.setdefault(name, value)
    if fields.get("version") != "STSv1":
        raise ValueError("not version STSv1")
    mode, age = fields.get("mode", ""), fields.get("max_age", "")
    if mode not in ("enforce", "testing", "none"):
        raise ValueError("no such mode")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise ValueError("max_age is not a number")
    if mode != "none" and not hosts:
        raise ValueError("no mx")
    return Policy(mode, min(int(age), _LONGEST_AGE), tuple(hosts))


def _host(value: str) -> str:
    name = value.lower().rstrip(".")
    if not _PATTERN.fullmatch(name):
        raise ValueError("an mx that is not a host name")
    return name
