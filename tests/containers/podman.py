"""Runs podman and podman-compose with the settings of these tests, and removes what they leave behind."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.peers.process import PeerError, until

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/posthouse:0.1.0"
_LOG_LINES = 40
_BUILD_SECONDS = 900
_COMMAND_SECONDS = 180
_HEALTHY_SECONDS = 180.0
# podman-compose sets this label on each container, volume and network.
_PROJECT_LABEL = "io.podman.compose.project"
_PROJECT_PREFIX = "posthouse-test"
_PROJECT = re.compile(rf"{_PROJECT_PREFIX}-\w+-[0-9a-f]+-\d+")


def _environment() -> dict[str, str]:
    return {**os.environ, "CONTAINERS_CONF": str(Path(__file__).with_name("containers.conf"))}


def run(*command: str, environment: Mapping[str, str] | None = None, seconds: float = _COMMAND_SECONDS) -> str:
    """Runs a command that must succeed and returns its standard output.

    Raises AssertionError with its output otherwise.
    """
    with subprocess.Popen(
        command,
        env={**_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        # Processes that the command started also hold its output open, so all of them are ended together.
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            output, errors = process.communicate()
            raise AssertionError(
                f"the command did not end within {seconds:g} s: {' '.join(command)}: {output}\n{errors}"
            ) from None
    assert process.returncode == 0, f"{' '.join(command)}: {output}\n{errors}"
    # podman-compose exits with 0 even if podman started no container, so the report of a failure must show its output.
    print(errors, end="")
    return output.strip()


def podman(*arguments: str) -> str:
    return run("podman", *arguments)


def succeeds(*arguments: str) -> bool:
    """Returns whether a podman command exits with 0."""
    try:
        podman(*arguments)
    except AssertionError:
        return False
    return True


@functools.cache
def build() -> None:
    """Builds the image from this checkout, once for all tests."""
    run(str(ROOT / "scripts/build-image"), IMAGE.removeprefix("localhost/"), seconds=_BUILD_SECONDS)


# Maps each image of compose.yaml to the target of images/Dockerfile that stands in for it.
_STAND_INS = {
    "haproxy": "haproxy:2.8-alpine",
    "postgres": "postgres:16-alpine",
    "redis": "redis:7-alpine",
    "clamd": "clamav/clamav-debian:1.4",
    "unbound": "mvance/unbound:1.20.0",
}


def build_with_stand_ins() -> None:
    """Builds the image, and in parallel the stand-ins under the names that compose.yaml uses for them."""
    run(str(ROOT / "scripts/build-base-image"), seconds=_BUILD_SECONDS)
    with ThreadPoolExecutor() as threads:
        for result in [threads.submit(build), threads.submit(_build_stand_ins)]:
            result.result()


def _build_stand_ins() -> None:
    folder = Path(__file__).with_name("images")
    for target, name in _STAND_INS.items():
        options = ("--format", "docker", "--pull=never", "--network", "host", "--target", target)
        run("podman", "build", *options, "-t", f"localhost/{name}", str(folder), seconds=_BUILD_SECONDS)


def inspect(container: str) -> dict[str, Any]:
    description: dict[str, Any] = json.loads(podman("inspect", container))[0]
    return description


def log(container: str) -> str:
    """Returns the state of the container and the end of its log, as far as podman can tell."""
    shown = ""
    for command in (
        ("ps", "--all", "--filter", f"name=^{container}$", "--format", "{{.Names}}: {{.Status}}"),
        ("logs", "--tail", str(_LOG_LINES), container),
    ):
        # A service writes its log to standard error, and podman shows it there.
        completed = subprocess.run(
            ["podman", *command],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        shown += completed.stdout.decode("utf-8", "backslashreplace")
    return shown


def until_healthy(container: str, seconds: float = _HEALTHY_SECONDS) -> None:
    """Runs the container's own health check until it passes. Docker and systemd would run it on a timer.

    Raises PeerError with the container's log when it does not pass within `seconds`, or when there is no container.
    """
    if not succeeds("container", "exists", container):
        raise PeerError(f"{container} does not exist")
    try:
        until(lambda: succeeds("healthcheck", "run", container), f"{container} is healthy", seconds, pause=0.5)
    except PeerError as error:
        raise PeerError(f"{error}\n{log(container)}") from None


class Compose:
    """One compose file under a project name of its own."""

    def __init__(self, file: Path, name: str, environment: Mapping[str, str]) -> None:
        # The name contains the process id, so that the next run can recognize what a killed run has left behind.
        self.project = f"{_PROJECT_PREFIX}-{name}-{uuid.uuid4().hex[:8]}-{os.getpid()}"
        self._command = ("podman-compose", "-f", str(file), "-p", self.project)
        self._environment = environment

    def __call__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        return run(*self._command, *arguments, environment={**self._environment, **(environment or {})})

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def make_network(self, name: str, *options: str) -> None:
        """Creates a network of the project before podman-compose does, with options that podman-compose does not
        support.
        """
        label = f"{_PROJECT_LABEL}={self.project}"
        podman("network", "create", "--label", label, *options, f"{self.project}_{name}")

    def remove(self) -> None:
        remove(self.project)


def remove(project: str) -> None:
    """Removes the containers, volumes and networks of a project. Raises AssertionError when something is left."""
    of_project = ("--quiet", "--filter", f"label={_PROJECT_LABEL}={project}")
    # --volumes removes the anonymous volumes that an image declares.
    removals = (
        (("ps", "--all"), ("rm", "--force", "--volumes", "--time", "0")),
        (("volume", "ls"), ("volume", "rm", "--force")),
        (("network", "ls"), ("network", "rm", "--force")),
    )
    for listing, removal in removals:
        if names := podman(*listing, *of_project).split():
            succeeds(*removal, *names)
    left = {listing[0]: shown for listing, _ in removals if (shown := podman(*listing, *of_project))}
    assert not left, f"the project {project} has left {left}"


def remove_leftovers() -> None:
    """Removes what killed runs of these tests have left behind."""
    labels = [
        podman(*kind, "--format", "{{.Labels}}") for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    ]
    for project in set(_PROJECT.findall("\n".join(labels))):
        command = Path("/proc", project.rpartition("-")[2], "cmdline")
        if not command.exists() or b"pytest" not in command.read_bytes():
            remove(project)


def own_containers() -> list[str]:
    """Returns the containers that this process started, including those that have ended."""
    names = podman("ps", "--all", "--format", "{{.Names}}").split()
    return sorted(name for name in names if name.startswith(_PROJECT_PREFIX) and f"-{os.getpid()}_" in name)
