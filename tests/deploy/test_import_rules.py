"""The import rules of pyproject.toml cover every module that describes itself as pure."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
PURE_PACKAGES = CONTRACTS["pure"]["source_modules"]
SERVICES = ("ingress", "policy", "relay", "config_api")


def says_it_is_pure(path: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return re.search(r"\b[Pp]ure\b", docstring) is not None


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PURE_MODULES = sorted(
    module_name(path) for top in ("services", "libs") for path in (ROOT / top).rglob("*.py") if says_it_is_pure(path)
)


def test_pure_modules_are_found() -> None:
    assert len(PURE_MODULES) > 30


@pytest.mark.parametrize("module", PURE_MODULES)
def test_every_module_whose_docstring_says_pure_is_in_the_contract(module: str) -> None:
    assert any(module == package or module.startswith(f"{package}.") for package in PURE_PACKAGES)


@pytest.mark.parametrize("service", SERVICES)
def test_every_module_of_a_service_has_its_layer(service: str) -> None:
    contract = CONTRACTS[f"{service.replace('_', '-')}-layers"]
    assert contract["containers"] == [f"services.{service}"]
    assert contract["exhaustive"] is True
