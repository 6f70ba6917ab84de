"""The check that finds changes of the API which break clients of the newest release."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts import openapi_compatible
from scripts.openapi_compatible import Comparison

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text())
Change = Callable[[dict[str, Any]], object]


def _schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = document["components"]["schemas"][name]
    return schema


def _account(document: dict[str, Any]) -> dict[str, Any]:
    return _schema(document, "Account")


def _page(document: dict[str, Any]) -> dict[str, Any]:
    return _schema(document, "AccountPage")


def _create(document: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = document["paths"]["/v1/accounts"]["post"]
    return operation


def _breaks(change: Change) -> list[str]:
    changed = copy.deepcopy(DOCUMENT)
    change(changed)
    return Comparison(DOCUMENT, changed).run()


def test_a_document_is_compatible_with_itself() -> None:
    assert _breaks(lambda _: None) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["paths"].pop("/v1/accounts/{id}"), "the operation is gone"),
        (lambda d: _create(d).update(operationId="makeAccount"), "operationId was createAccount"),
        (
            lambda d: d["paths"]["/v1/accounts"]["get"].update({"x-required-role": "admin"}),
            "the required role was reader",
        ),
        (lambda d: d["paths"]["/v1/accounts"]["get"].update(parameters=[]), "the parameter login is gone"),
        (
            lambda d: _create(d)["parameters"].append(
                {"in": "query", "name": "new", "required": True, "schema": {"type": "string"}}
            ),
            "the parameter new is needed",
        ),
        (lambda d: _create(d)["responses"].pop("201"), "no longer answered with 201"),
        (lambda d: _account(d)["properties"].pop("login"), "the member login is gone"),
        (lambda d: _account(d)["required"].append("addresses"), "the member addresses is needed"),
        (lambda d: _account(d).update(required=[]), "the member login is not always there"),
        (lambda d: _account(d)["properties"]["login"].update(maxLength=10), "maxLength was 255 and is 10"),
        (lambda d: _account(d)["properties"]["login"].update(minLength=2), "minLength was 1 and is 2"),
        (lambda d: _account(d)["properties"]["enabled"].update(type="string"), "its type was boolean and is string"),
        (lambda d: _page(d)["properties"]["items"].update(type=["array", "null"]), "its type was array"),
        (lambda d: _schema(d, "Mode")["enum"].remove("shadow"), "its values were"),
        (lambda d: _schema(d, "Mailbox")["oneOf"].pop(), "oneOf has lost"),
    ],
)
def test_changes_that_break_a_client_are_reported(change: Change, words: str) -> None:
    assert words in "\n".join(_breaks(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["paths"].update({"/v1/new": {"get": _create(d)}}),
        lambda d: _account(d)["properties"].update(new={"type": "string"}),
        lambda d: _account(d)["properties"]["login"].update(maxLength=500, description="Other words."),
        lambda d: _page(d)["properties"].update(total={"type": "integer"}),
        lambda d: _create(d)["parameters"].append({"in": "query", "name": "new", "schema": {"type": "string"}}),
        lambda d: d["paths"]["/v1/accounts"]["post"].update({"x-required-role": "operator"}),
        lambda d: _schema(d, "DeliveryState")["x-extensible-enum"].append("new"),
    ],
)
def test_compatible_changes_are_not_reported(change: Change) -> None:
    assert _breaks(change) == []


def test_before_the_first_release_there_is_nothing_to_compare_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(openapi_compatible, "newest_release", lambda: None)
    assert openapi_compatible.main() == 0
    assert "no release yet" in capsys.readouterr().out


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def _release(folder: Path, tag: str, document: dict[str, Any]) -> None:
    (folder / "openapi.json").write_text(json.dumps(document))
    _git(folder, "add", "openapi.json")
    _git(folder, "commit", "-m", tag)
    _git(folder, "tag", tag)


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty repository, which the check reads in place of ours."""
    monkeypatch.setattr(openapi_compatible, "ROOT", tmp_path)
    _git(tmp_path, "init")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["paths"]["/v1/accounts"].pop("post"), "POST /v1/accounts: the operation is gone."),
        (lambda d: _page(d)["properties"].pop("items"), "GET /v1/accounts 200: the member items is gone."),
        (lambda d: _account(d)["required"].append("enabled"), "body: the member enabled is needed."),
        (lambda d: _schema(d, "Mode")["enum"].remove("shadow"), "body/reject_non_fqdn_sender: its values were"),
        (lambda d: _account(d)["properties"]["enabled"].update(type="integer"), "its type was boolean and is integer."),
    ],
    ids=[
        "an operation is removed",
        "a member is removed from an answer",
        "a member of a request is required",
        "a value of a request is removed",
        "a type is changed",
    ],
)
def test_after_the_first_release_a_change_that_breaks_its_clients_fails(
    repository: Path, capsys: pytest.CaptureFixture[str], change: Change, words: str
) -> None:
    _release(repository, "0.1.0", DOCUMENT)
    changed = copy.deepcopy(DOCUMENT)
    change(changed)
    (repository / "openapi.json").write_text(json.dumps(changed))
    assert openapi_compatible.main() == 1
    told = capsys.readouterr().out
    assert words in told
    assert "break a client of 0.1.0" in told


def test_after_the_first_release_a_compatible_change_passes(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _release(repository, "0.1.0", DOCUMENT)
    changed = copy.deepcopy(DOCUMENT)
    _account(changed)["properties"]["new"] = {"type": "string"}
    changed["paths"]["/v1/new"] = {"get": _create(changed)}
    (repository / "openapi.json").write_text(json.dumps(changed))
    assert openapi_compatible.main() == 0
    assert capsys.readouterr().out == "as 0.1.0 has it\n"


def test_a_release_is_found_by_its_tag_and_its_document_is_read(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = copy.deepcopy(DOCUMENT)
    for number, (tag, document) in enumerate((("nightly", changed), ("0.9.0", changed), ("v0.10.0", DOCUMENT))):
        document["info"]["x-number"] = number
        _release(repository, tag, document)
    assert openapi_compatible.newest_release() == "v0.10.0"
    assert openapi_compatible.main() == 0
    _account(changed)["properties"].pop("login")
    (repository / "openapi.json").write_text(json.dumps(changed))
    assert openapi_compatible.main() == 1
    assert "the member login is gone" in capsys.readouterr().out
