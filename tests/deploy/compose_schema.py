"""The part of the Compose specification that compose.yaml uses: the attributes and their types.

Each rule is one of the specification's own schema (compose-spec.json), which allows more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Unique:
    """A list of texts without duplicates."""


@dataclass(frozen=True)
class Required:
    """A mapping of attributes, some of which are required."""

    attributes: dict[str, Any]
    names: tuple[str, ...]


# A value of the table is a type, a tuple of types, a set of the allowed values, a list (whose values are all of one
# kind), a mapping of attributes, one of the classes above, or a mapping with the single key ANY, which stands for names
# that a user chooses.
ANY = "*"
_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_TEXTS = [str]
_DURATION = str
_HEALTH = {
    "test": _TEXTS,
    "interval": _DURATION,
    "timeout": _DURATION,
    "retries": int,
    "start_period": _DURATION,
    "start_interval": _DURATION,
    "disable": bool,
}
CONDITIONS = ("service_completed_successfully", "service_healthy", "service_started")
_DEPENDENCY = Required({"condition": set(CONDITIONS), "required": bool, "restart": bool}, ("condition",))
_SERVICE = {
    "image": str,
    "build": {"context": str, "args": {ANY: (str, int)}, "dockerfile": str, "target": str},
    "command": _TEXTS,
    "entrypoint": _TEXTS,
    "user": str,
    "read_only": bool,
    "cap_add": Unique(),
    "cap_drop": Unique(),
    "security_opt": Unique(),
    "restart": str,
    "networks": (Unique(), {ANY: {"ipv4_address": str, "ipv6_address": str, "aliases": Unique()}}),
    "ports": Unique(),
    "profiles": Unique(),
    "volumes": Unique(),
    "tmpfs": Unique(),
    "shm_size": (str, int),
    "secrets": _TEXTS,
    "environment": {ANY: (str, int)},
    "healthcheck": _HEALTH,
    "depends_on": {ANY: _DEPENDENCY},
    "deploy": {"resources": {"limits": {"cpus": str, "memory": str, "pids": int}}, "replicas": int},
    "ulimits": {ANY: Required({"soft": int, "hard": int}, ("soft", "hard"))},
    "stop_grace_period": _DURATION,
    "stop_signal": str,
}
_ADDRESSES = {"subnet": str, "ip_range": str, "gateway": str}
FILE = {
    "name": str,
    "services": {ANY: _SERVICE},
    "networks": {ANY: {"internal": bool, "driver": str, "ipam": {"driver": str, "config": [_ADDRESSES]}}},
    "volumes": {ANY: {"driver": str, "name": str, "external": bool}},
    "secrets": {ANY: {"file": str, "environment": str, "external": bool, "name": str}},
}


def faults(value: Any, schema: Any, where: str) -> list[str]:
    """Returns the faults of the value according to the schema. Extensions (x-…) are allowed at the top level."""
    match schema:
        case dict():
            return _of_mapping(value, schema, where)
        case Required():
            found = _of_mapping(value, schema.attributes, where)
            return found + [f"{where}: {name} is missing" for name in schema.names if name not in value]
        case list():
            if not isinstance(value, list):
                return [f"{where}: {type(value).__name__} is no list"]
            return [
                fault for number, item in enumerate(value) for fault in faults(item, schema[0], f"{where}[{number}]")
            ]
        case Unique():
            found = faults(value, _TEXTS, where)
            return found or [f"{where}: {item} is there twice" for item in sorted(set(value)) if value.count(item) > 1]
        case set():
            return [] if value in schema else [f"{where}: {value!r} is none of {', '.join(sorted(schema))}"]
        case tuple() if not all(isinstance(each, type) for each in schema):
            tried = [faults(value, each, where) for each in schema]
            return [] if [] in tried else tried[isinstance(value, dict)]
        case _:
            kinds = schema if isinstance(schema, tuple) else (schema,)
            # In Python true and false are integers. In the specification they are not.
            fits = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
            names = " or ".join(kind.__name__ for kind in kinds)
            return [] if fits else [f"{where}: {type(value).__name__} is no {names}"]


def _of_mapping(value: Any, schema: dict[str, Any], where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: {type(value).__name__} is no mapping"]
    found = []
    for key, item in value.items():
        inner = schema.get(key, schema.get(ANY))
        if inner is None:
            found += [] if schema is FILE and str(key).startswith("x-") else [f"{where}.{key}: unknown"]
        elif key not in schema and not _NAME.fullmatch(str(key)):
            found.append(f"{where}.{key}: no name")
        else:
            found += faults(item, inner, f"{where}.{key}")
    return found
