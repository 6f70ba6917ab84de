"""Every dependency is used by the service that declares it, and every import of a service is declared for it."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"services", "libs", "posthouse", "posthouse_client", "tests"}
# Packages that no code imports: SQLAlchemy loads its drivers by the database's URL, and Swagger UI is read as files.
BY_NAME = {"aiosqlite", "asyncpg", "fastapi-swagger"}
SERVICES = ("ingress", "policy", "relay", "config-api", "console")


def distributions(declared: Iterable[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~ ]", one, maxsplit=1)[0]) for one in declared}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


BASE = distributions(PROJECT["dependencies"])
EXTRAS = {name: distributions(declared) for name, declared in PROJECT["optional-dependencies"].items()}
# Packages that belong to the public interface of a declared dependency, which itself depends on them.
COME_WITH = {"fastapi": {"starlette"}, "pydantic": {"pydantic-core"}}


@functools.cache
def by_module() -> dict[str, set[str]]:
    """Maps each top-level module to its distributions; namespaces (`google`, `opentelemetry`) have several."""
    return {module: set(map(normal, names)) for module, names in packages_distributions().items()}


@functools.cache
def imported(folder: str) -> frozenset[str]:
    """Returns the top-level modules of other projects that are imported anywhere below `folder`."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    return frozenset(found - OURS - set(sys.stdlib_module_names))


def of_service(extra: str) -> frozenset[str]:
    return imported(f"services/{extra.replace('-', '_')}")


@pytest.mark.parametrize("extra", SERVICES)
def test_every_dependency_of_a_service_is_imported_there(extra: str) -> None:
    """A package that only a lib imports is declared by each service that uses this part of the lib."""
    used = set().union(*(by_module()[module] for module in of_service(extra) | imported("libs")))
    assert EXTRAS[extra] - used - BY_NAME == set()


@pytest.mark.parametrize("extra", SERVICES)
def test_every_import_of_a_service_is_declared_for_it(extra: str) -> None:
    declared = EXTRAS[extra] | BASE
    declared = declared.union(*(parts for name, parts in COME_WITH.items() if name in declared))
    assert {module for module in of_service(extra) if not by_module()[module] & declared} == set()


def test_every_shared_dependency_is_imported_somewhere() -> None:
    modules = imported("services") | imported("libs") | imported("proto") | imported("clients/python/posthouse_client")
    assert BASE - set().union(*(by_module()[module] for module in modules)) == set()
