"""Reads and writes configurations in YAML: most of the core schema of YAML 1.2, without aliases, with a limit for the
depth.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

# With these resolvers, `off`, `on` and times are strings. The rules of YAML 1.1 would read some settings as booleans,
# dates and base-60 numbers.
_RESOLVERS = (
    ("tag:yaml.org,2002:null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+"), list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"),
        list("-+.0123456789"),
    ),
)


class YamlError(ValueError):
    """The text is not YAML, or exceeds a limit. The message contains no part of the text."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way


for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern.pattern})\Z"), _first)


def _decimal(loader: Any, node: Any) -> int:
    """Reads a number in base 10. PyYAML would read 010 as 8."""
    return int(loader.construct_scalar(node))


def _mapping(loader: Any, node: Any) -> Any:
    """Refuses an object in which a member occurs twice, which YAML forbids (1.2, 3.2.1.3). PyYAML would use the last
    one.
    """
    names = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if len(set(names)) != len(names):
        raise YamlError(f"A member occurs twice in the object at line {node.start_mark.line + 1}.")
    yield from loader.construct_yaml_map(node)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes strings that YAML 1.1 or 1.2 would read as another type: `off` is a boolean in 1.1, and `1e3` is a number
    in 1.2.
    """


for _tag, _pattern, _first in _RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern.pattern})\Z"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load(text: str, depth: int) -> Any:
    """Reads a text with one document. Raises YamlError."""
    try:
        _check(text, depth)
        return yaml.load(text, _Loader)  # noqa: S506 - derived from the safe loader
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise YamlError(f"The body is not YAML{where}.") from None


def dump(content: Any) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _check(text: str, limit: int) -> None:
    """Refuses aliases, because with them a small text can become a huge value. Refuses collections that are nested too
    deeply.
    """
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            raise YamlError("Aliases are not allowed.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > limit:
                raise YamlError(f"The body is nested deeper than {limit} levels.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
