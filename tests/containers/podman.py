"""Runs podman and podman-compose with the settings of these tests."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.peers.process import until

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/posthouse:0.1.0"
_BUILD_SECONDS = 900
_COMMAND_SECONDS = 180
_HEALTHY_SECONDS = 240.0


def run(*command: str, environment: Mapping[str, str] | None = None, seconds: float = _COMMAND_SECONDS) -> str:
    """The standard output of a command that must succeed. Raises AssertionError with its output otherwise."""
    completed = subprocess.run(
        command,
        env={**os.environ, "CONTAINERS_CONF": str(Path(__file__).with_name("containers.conf")), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert completed.returncode == 0, f"{' '.join(command)}: {completed.stdout}\n{completed.stderr}"
    return completed.stdout.strip()


def podman(*arguments: str) -> str:
    return run("podman", *arguments)


def succeeds(*arguments: str) -> bool:
    """Whether a podman command ends with 0."""
    try:
        podman(*arguments)
    except AssertionError:
        return False
    return True


def build(image: str = IMAGE) -> None:
    run(str(ROOT / "scripts/build-image"), image.removeprefix("localhost/"), seconds=_BUILD_SECONDS)


# The target of images/Dockerfile that stands for each image of compose.yaml.
_STAND_INS = {
    "haproxy": "haproxy:2.8-alpine",
    "postgres": "postgres:16-alpine",
    "redis": "redis:7-alpine",
    "clamd": "clamav/clamav-debian:1.4",
    "unbound": "mvance/unbound:1.20.0",
}


def build_stand_ins() -> None:
    """The images that are not ours, under the names that compose.yaml has for them. Needs the base of `build`."""
    folder = Path(__file__).with_name("images")
    for target, name in _STAND_INS.items():
        options = ("--format", "docker", "--pull=never", "--network", "host", "--target", target)
        run("podman", "build", *options, "-t", f"localhost/{name}", str(folder), seconds=_BUILD_SECONDS)


def inspect(container: str) -> dict[str, Any]:
    description: dict[str, Any] = json.loads(podman("inspect", container))[0]
    return description


def until_healthy(container: str, seconds: float = _HEALTHY_SECONDS) -> None:
    """Runs the container's own health check until it passes; Docker and systemd would run it on a timer."""
    until(lambda: succeeds("healthcheck", "run", container), f"{container} is healthy", seconds, pause=0.5)


class Compose:
    """One compose file under a project name of its own."""

    def __init__(self, file: Path, project: str, environment: Mapping[str, str]) -> None:
        self._command = ("podman-compose", "-f", str(file), "-p", project)
        self._environment = environment
        self.project = project

    def __call__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        return run(*self._command, *arguments, environment={**self._environment, **(environment or {})})
