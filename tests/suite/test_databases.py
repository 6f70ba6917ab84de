"""Commands on the machine of a suite find the databases that the suite uses."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from libs.runtime.lifecycle import SettingsError
from services.suite.databases import VARIABLES, find, folder_here, has_password, remember, without_password
from services.suite.topology import lay_out

URL = "postgresql://posthouse@db.example/mail"


def remembered(folder: Path, *, postgres_url: str = "", **environment: str) -> None:
    (folder / "run").mkdir(exist_ok=True)
    remember(folder / "run", lay_out(environment, sockets=folder, postgres_url=postgres_url))


def test_the_url_of_the_option_postgres_is_found_again(tmp_path: Path) -> None:
    remembered(tmp_path, postgres_url=URL)
    assert find(tmp_path, {}) == dict.fromkeys(VARIABLES.values(), URL)
    assert stat.S_IMODE((tmp_path / "run" / "databases.json").stat().st_mode) == 0o600
    assert find(tmp_path, {"RELAY_DATABASE_URL": "sqlite:///x"}) == {"CONFIG_API_DATABASE_URL": URL}
    assert find(tmp_path, {}, "postgresql:///other") == dict.fromkeys(VARIABLES.values(), "postgresql:///other")


def test_no_url_is_found_for_a_suite_on_sqlite_or_in_a_folder_without_a_suite(tmp_path: Path) -> None:
    assert find(tmp_path, {}) == {}
    remembered(tmp_path, postgres_url=URL)
    remembered(tmp_path)
    assert find(tmp_path, {}) == {}, "the settings of the last start are used"


@pytest.mark.parametrize("url", ["postgresql://u:secret@db/mail", "postgresql://u@db/mail?password=secret"])
def test_no_password_is_stored_and_the_error_names_the_variable_to_set(url: str, tmp_path: Path) -> None:
    remembered(tmp_path, RELAY_DATABASE_URL=url, CONFIG_API_DATABASE_URL=URL)
    assert "secret" not in (tmp_path / "run" / "databases.json").read_text()
    with pytest.raises(SettingsError, match="RELAY_DATABASE_URL that has a password: set it") as raised:
        find(tmp_path, {})
    assert "\n" not in str(raised.value)
    assert find(tmp_path, {"RELAY_DATABASE_URL": url}) == {"CONFIG_API_DATABASE_URL": URL}
    assert has_password(url)
    assert "secret" not in without_password(url)


def test_the_folder_that_a_suite_has_used_is_found(tmp_path: Path) -> None:
    first, second = tmp_path / "var", tmp_path / "lib"
    candidates = (str(first), str(second))
    assert folder_here({}, candidates) == first
    (second / "run").mkdir(parents=True)
    assert folder_here({}, candidates) == first
    remembered(second)
    assert folder_here({}, candidates) == second
    assert folder_here({"POSTHOUSE_DATA_DIR": str(first)}, candidates) == first
