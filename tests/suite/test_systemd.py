"""systemd reports no fault in the units of `posthouse install systemd`, and the units restrict the services."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime.lifecycle import StartupError
from services.suite import systemd
from tests.peers.process import program

# Every Debian system has this user.
USER = "daemon"
UNITS = {
    "posthouse.service": "posthouse.service",
    **{
        f"{stem}@.service": f"{stem}@1.service"
        for stem in map("posthouse-{}".format, ("config-api", "policy", "relay", "console"))
    },
    "posthouse-ingress@.service": "posthouse-ingress@1.service",
}


@pytest.fixture
def command(tmp_path: Path) -> Path:
    path = tmp_path / "bin/posthouse"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def unit_folder(tmp_path: Path, command: Path) -> Path:
    """A folder with the units, and one instance of each template."""
    folder = tmp_path / "units"
    folder.mkdir()
    contents = systemd.units(command, USER)
    assert contents.keys() == UNITS.keys()
    for name, content in contents.items():
        (folder / UNITS[name]).write_text(content)
    return folder


@pytest.mark.parametrize("unit", UNITS.values())
def test_systemd_finds_nothing_wrong(unit: str, unit_folder: Path) -> None:
    verified = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", unit_folder / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS.values())
def test_the_exposure_level_of_each_unit_is_below_2_5(unit: str, unit_folder: Path) -> None:
    shown = subprocess.run(
        [program("systemd-analyze"), "security", "--offline=true", "--no-pager", unit_folder / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"Overall exposure level for .*: ([0-9.]+)", shown.stdout)
    assert level is not None, shown.stderr
    assert float(level[1]) < 2.5


def test_listening_on_ports_under_1024_is_the_only_privilege_and_only_of_ingress(unit_folder: Path) -> None:
    for unit in unit_folder.iterdir():
        lines = unit.read_text().splitlines()
        receives = unit.name in {"posthouse.service", "posthouse-ingress@1.service"}
        allowed = "CAP_NET_BIND_SERVICE" if receives else ""
        assert f"AmbientCapabilities={allowed}" in lines
        assert f"CapabilityBoundingSet={allowed}" in lines


def test_the_settings_file_of_a_replica_has_the_name_of_its_unit() -> None:
    contents = systemd.units(Path("/opt/posthouse/bin/posthouse"))
    for name, content in contents.items():
        files = [line.rpartition("/")[2] for line in content.splitlines() if line.startswith("EnvironmentFile=")]
        of_replica = name.removeprefix("posthouse-").replace("@.service", "-%i.env")
        own = of_replica if "@" in name else "posthouse.env"
        assert (files[0], files[-1]) == ("posthouse.env", own)
    before = contents["posthouse-config-api@.service"].index("config_api-%i.env")
    assert before < contents["posthouse-config-api@.service"].index("config-api-%i.env"), "the last file wins"


def test_the_command_installs_units_reports_it_and_keeps_settings(
    tmp_path: Path, command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(command), "install", "systemd"])
    units, settings = tmp_path / "etc-systemd", tmp_path / "etc-posthouse"
    units.mkdir()
    said = list(systemd.install(USER, units, settings))
    assert f"wrote {units / 'posthouse.service'}" in said
    assert {path.name for path in units.iterdir()} == UNITS.keys()
    (settings / "posthouse.env").write_text("INGRESS_SMTP_PORT=25\n")
    assert list(systemd.install(USER, units, settings)) == said[-1:], "a second run has nothing to do"
    assert (settings / "posthouse.env").read_text() == "INGRESS_SMTP_PORT=25\n"


@pytest.mark.parametrize(
    "path", ["/root/venv/bin/posthouse", "/home/me/posthouse", "/usr/lib/python3/services/__main__.py"]
)
def test_a_command_that_the_units_could_not_run_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [path])
    monkeypatch.setattr(Path, "exists", lambda _: True)
    with pytest.raises(StartupError):
        list(systemd.install(USER))
