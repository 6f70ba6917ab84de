"""The part of the Compose specification that compose.yaml uses: which attributes there are, and of what type."""

from __future__ import annotations

from typing import Any

# A type, a tuple of types, a list (of values alike), a mapping of attributes, or a mapping with one key ANY: names of
# the user's own.
ANY = "*"
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
_SERVICE = {
    "image": str,
    "build": {"context": str, "args": {ANY: (str, int)}, "dockerfile": str, "target": str},
    "command": _TEXTS,
    "entrypoint": _TEXTS,
    "user": str,
    "read_only": bool,
    "cap_add": _TEXTS,
    "cap_drop": _TEXTS,
    "security_opt": _TEXTS,
    "restart": str,
    "networks": _TEXTS,
    "ports": _TEXTS,
    "volumes": _TEXTS,
    "tmpfs": _TEXTS,
    "shm_size": (str, int),
    "secrets": _TEXTS,
    "environment": {ANY: (str, int)},
    "healthcheck": _HEALTH,
    "depends_on": {ANY: {"condition": str, "required": bool, "restart": bool}},
    "deploy": {"resources": {"limits": {"cpus": str, "memory": str, "pids": int}}, "replicas": int},
    "stop_grace_period": _DURATION,
    "stop_signal": str,
}
FILE = {
    "name": str,
    "services": {ANY: _SERVICE},
    "networks": {ANY: {"internal": bool, "driver": str, "ipam": {"config": [{"subnet": str, "gateway": str}]}}},
    "volumes": {ANY: {"driver": str, "name": str, "external": bool}},
    "secrets": {ANY: {"file": str, "environment": str, "external": bool, "name": str}},
}


def faults(value: Any, schema: Any, where: str) -> list[str]:
    """What does not fit, in order; extensions (x-…) may stand at the top."""
    match schema:
        case dict():
            if not isinstance(value, dict):
                return [f"{where}: {type(value).__name__} is no mapping"]
            found = []
            for key, item in value.items():
                inner = schema.get(key, schema.get(ANY))
                if inner is not None:
                    found += faults(item, inner, f"{where}.{key}")
                elif not (schema is FILE and str(key).startswith("x-")):
                    found.append(f"{where}.{key}: unknown")
            return found
        case list():
            if not isinstance(value, list):
                return [f"{where}: {type(value).__name__} is no list"]
            return [
                fault for number, item in enumerate(value) for fault in faults(item, schema[0], f"{where}[{number}]")
            ]
        case _:
            kinds = schema if isinstance(schema, tuple) else (schema,)
            # True and false are whole numbers in Python only.
            fits = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
            names = " or ".join(kind.__name__ for kind in kinds)
            return [] if fits else [f"{where}: {type(value).__name__} is no {names}"]
