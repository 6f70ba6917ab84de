"""`posthouse …`: an unknown command, argument or variable is refused with status 2, and nothing is started."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from services.__main__ import app
from services.command_line.app import HEADINGS

ROOT = Path(__file__).parents[2]


def posthouse(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
            "POSTHOUSE_DATA_DIR": str(tmp_path / "data"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_help_lists_every_command_under_one_heading_with_a_whole_sentence() -> None:
    def truncated(command: Any, name: str) -> Iterator[str]:
        commands = getattr(command, "commands", {})
        width = 80 - 6 - max(map(len, commands), default=0)
        for each, subcommand in commands.items():
            if subcommand.get_short_help_str(width).endswith("..."):
                yield f"{name} {each}"
            yield from truncated(subcommand, f"{name} {each}")

    root: Any = get_command(app)
    listed = [name for names in HEADINGS.values() for name in names]
    assert sorted(listed) == sorted(root.commands)
    assert list(truncated(root, "posthouse")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("relay", "migrte"), "Did you mean 'migrate'?"),
        (("config_api", "rotate-secret-keys"), "Did you mean 'rotate-secret-key'?"),
        (("relay", "--port", "9999"), "No such option"),
        (("policy", "--bogus"), "No such option"),
        (("policy", "bogus"), "unexpected extra argument"),
        (("ingress", "bogus"), "unexpected extra argument"),
        (("config_api", "bogus"), "No such command"),
        (("relais",), "Did you mean 'relay'?"),
        (("up", "bogus"), "unexpected extra argument"),
        (("demo", "bogus"), "unexpected extra argument"),
    ],
)
def test_unknown_commands_and_arguments_are_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """Case F38 of docs/cases.md describes this behaviour."""
    refused = posthouse(tmp_path, *arguments)
    assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
    assert not (tmp_path / "data").exists(), "nothing was started"


@pytest.mark.parametrize(
    ("command", "variable", "value", "said"),
    [
        ("up", "INGRES_SMTP_PORT", "9999", "did you mean INGRESS_SMTP_PORT?"),
        ("up", "POLICY_METRIC_PORT", "0", "did you mean POLICY_METRICS_PORT?"),
        ("up", "POSTHOUSE_DATADIR", "/srv", "did you mean POSTHOUSE_DATA_DIR?"),
        ("relay", "RELAY_MX_PROT", "1", "did you mean RELAY_MX_PORT?"),
        ("relay", "RELAY_MX_PORT", "abc", "RELAY_MX_PORT=abc: "),
        ("up", "POLICY_PORT", "50051", "POLICY_PORT is not used any more: set POLICY_LISTEN to unix:PATH or host:port"),
        ("config_api", "CONFIG_API_ADMIN_KEY", "a", "CONFIG_API_ADMIN_KEY: must have 16 characters"),
        ("policy", "POSTHOUSE_LOG_FORMAT", "xml", "POSTHOUSE_LOG_FORMAT=xml: "),
        ("ingress", "INGRESS_CPUS", "first", "INGRESS_CPUS=first: "),
    ],
)
def test_unknown_and_invalid_settings_are_refused(
    tmp_path: Path, command: str, variable: str, value: str, said: str
) -> None:
    """Case F39 of docs/cases.md describes this behaviour."""
    refused = posthouse(tmp_path, command, **{variable: value})
    assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
    assert not (tmp_path / "data").exists(), "nothing was started"


@pytest.mark.parametrize(
    ("option", "url", "variable"),
    [
        ("--postgres", "postgresql://u:hidden-word@db/posthouse", "RELAY_DATABASE_URL"),
        ("--redis", "redis://:hidden-word@redis:6379/0", "POLICY_STATE_URL"),
    ],
)
def test_a_password_in_an_argument_is_refused(tmp_path: Path, option: str, url: str, variable: str) -> None:
    refused = posthouse(tmp_path, "up", option, url)
    assert (refused.returncode, variable in refused.stderr) == (2, True), refused.stderr
    assert "hidden-word" not in refused.stdout + refused.stderr
    assert not (tmp_path / "data").exists(), "nothing was started"


def test_each_service_shows_its_own_commands(tmp_path: Path) -> None:
    shown = posthouse(tmp_path, "config_api", "--help").stdout
    assert "posthouse config_api" in shown
    assert "migrate" in shown
    assert "rotate-secret-key" in shown


def test_the_version_is_shown(tmp_path: Path) -> None:
    assert posthouse(tmp_path, "--version").stdout == f"posthouse {importlib.metadata.version('posthouse')}\n"
