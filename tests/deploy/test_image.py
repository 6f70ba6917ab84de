"""The Dockerfile follows the rules of common Dockerfile linters, and all versions that it installs are locked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
# The instructions, with continued lines joined and comments removed.
INSTRUCTIONS = [
    (line.split(None, 1)[0], line.split(None, 1)[1])
    for line in re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line.strip()
]
FINAL = INSTRUCTIONS[max(number for number, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]
KNOWN = {
    "FROM",
    "ARG",
    "ENV",
    "LABEL",
    "WORKDIR",
    "COPY",
    "RUN",
    "USER",
    "VOLUME",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ENTRYPOINT",
    "CMD",
}


def of(name: str, among: list[tuple[str, str]] | None = None) -> list[str]:
    return [rest for instruction, rest in among or INSTRUCTIONS if instruction == name]


def test_instructions_are_known_and_in_capitals() -> None:
    assert {name for name, _ in INSTRUCTIONS} <= KNOWN, (
        "only known instructions are used; ADD, MAINTAINER and SHELL are not among them"
    )


def test_both_stages_start_from_one_base_with_a_version() -> None:
    assert [rest.split()[0] for rest in of("FROM")] == ["${BASE}", "${BASE}"]
    base = next(rest for rest in of("ARG") if rest.startswith("BASE="))
    image, _, tag = base.removeprefix("BASE=").partition(":")
    assert image
    assert tag not in {"", "latest"}
    assert any(rest.startswith("--from=build ") for rest in of("COPY", FINAL))


@pytest.mark.parametrize("command", of("RUN"))
def test_commands_of_the_image_follow_the_rules_of_linters(command: str) -> None:
    words = re.split(r"[\s;&|]+", command)
    assert not {"sudo", "cd", "ssh", "apt", "apt-get", "curl", "wget", "chmod", "vim"} & set(words)
    assert " | " not in command, "no command contains a pipe, which hides the failure of its first part"
    assert " ; " not in command, "commands are joined so that the first failure ends the build"
    for install in re.findall(r"pip install([^&]*)", command):
        assert "--require-hashes" in install or {"--no-deps", "."} < set(install.split())


def test_paths_are_absolute_and_no_copy_takes_the_whole_folder() -> None:
    assert all(path.startswith("/") for path in of("WORKDIR"))
    assert not [rest for rest in of("COPY") if rest.split()[0] == "."]


def test_the_image_runs_without_privileges() -> None:
    assert of("USER", FINAL) == ["10001:10001"]
    assert of("ENTRYPOINT", FINAL) == ['["posthouse"]']
    assert all(rest.startswith("[") for rest in (*of("CMD"), *of("ENTRYPOINT"))), (
        "the command is a list, so signals reach the process itself and not a shell"
    )
    assert of("STOPSIGNAL") == ["SIGTERM"]
    names = [name for name, _ in FINAL]
    assert names.index("USER") > max(number for number, name in enumerate(names) if name in ("RUN", "COPY"))
    assert "apt-get" not in TEXT


def test_each_service_can_be_built_by_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {"ingress", "policy", "relay", "config-api", "all"} <= extras.keys()
    assert "EXTRAS=all" in of("ARG")
    assert '--extra "${EXTRAS}"' in TEXT
    assert project["scripts"]["posthouse"]


def test_no_secret_is_built_into_the_image() -> None:
    assert not re.search(r"(?i)(password|secret|_key|token)\s*=", TEXT)
