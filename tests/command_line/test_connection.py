"""The places where a command finds the address of the API and a key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.command_line.connection import Access, find_access, profile_file, read_profiles, write_profiles
from services.command_line.failures import CommandError
from tests.command_line.posthouse import CommandLine

URL = "https://mail.example.com:8080"


def environment(folder: Path, **variables: str) -> dict[str, str]:
    return {"HOME": str(folder), "POSTHOUSE_DATA_DIR": str(folder / "var"), **variables}


def test_the_environment_takes_precedence_over_a_profile(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    write_profiles(profile_file(variables), {"default": Access("http://other", "other")})
    assert find_access({**variables, "POSTHOUSE_URL": URL, "POSTHOUSE_KEY": "ph_1"}) == Access(URL, "ph_1")
    assert find_access(variables) == Access("http://other", "other")


@pytest.mark.parametrize("name", ["POSTHOUSE_URL", "POSTHOUSE_KEY"])
def test_address_and_key_must_be_given_together(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="is not set") as refused:
        find_access(environment(tmp_path, **{name: URL}))
    assert refused.value.status == 2


def test_only_its_owner_can_read_a_profile(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    path = profile_file(variables)
    profiles = {"default": Access(URL, 'ph_"quoted"'), "other": Access(URL, "ph_2", "/etc/ca.pem")}
    write_profiles(path, profiles)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_profiles(path) == profiles
    assert find_access({**variables, "POSTHOUSE_PROFILE": "other"}) == profiles["other"]
    path.chmod(0o640)
    with pytest.raises(CommandError, match="others can read it"):
        find_access(variables)


def test_commands_for_the_suite_of_this_machine_need_neither_address_nor_key(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    with pytest.raises(
        CommandError, match=r"no API key was found, because no suite has its data in .*set POSTHOUSE_DATA_DIR"
    ):
        find_access(variables)
    (tmp_path / "var" / "run").mkdir(parents=True)
    (tmp_path / "var" / "admin-key").write_text("ph_local\n")
    assert find_access(variables) == Access("http://127.0.0.1:8080", "ph_local")
    (tmp_path / "var" / "run" / "api-url").write_text("http://127.0.0.1:9999\n")
    assert find_access(variables) == Access("http://127.0.0.1:9999", "ph_local")


def test_profiles_are_saved_listed_and_removed_without_showing_a_key(tmp_path: Path) -> None:
    posthouse = CommandLine(HOME=str(tmp_path), XDG_CONFIG_HOME="")
    posthouse("profile", "save", URL, stdin="ph_secret\n")
    listed = posthouse("profile", "list")
    assert (URL in listed, "ph_secret" in listed) == (True, False)
    assert posthouse.json("profile", "list") == {"items": [{"name": "default", "url": URL}]}
    posthouse("profile", "remove", "default")
    assert posthouse.run("profile", "remove", "default").status == 1


def test_an_address_where_nothing_listens_gives_status_3_and_one_line() -> None:
    posthouse = CommandLine(POSTHOUSE_URL="http://127.0.0.1:1", POSTHOUSE_KEY="ph_1")
    outcome = posthouse.run("status")
    assert (outcome.status, outcome.output, outcome.errors.count("\n")) == (3, "", 1)
    assert outcome.errors.startswith("posthouse: http://127.0.0.1:1 is not reachable")
