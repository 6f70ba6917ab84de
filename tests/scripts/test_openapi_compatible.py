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
        (lambda d: d["paths"]["/v1/accounts"]["get"].update({"x-required-role": "admin"}), "it took the role reader"),
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
def test_what_breaks_a_client_is_told(change: Change, words: str) -> None:
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
def test_what_may_change_is_not_told(change: Change) -> None:
    assert _breaks(change) == []


def test_before_the_first_release_there_is_nothing_to_compare_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(openapi_compatible, "newest_release", lambda: None)
    assert openapi_compatible.main() == 0
    assert "no release yet" in capsys.readouterr().out


def test_a_release_is_found_by_its_tag_and_its_document_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(openapi_compatible, "ROOT", tmp_path)
    git("init")
    changed = copy.deepcopy(DOCUMENT)
    for number, (tag, document) in enumerate((("nightly", changed), ("0.9.0", changed), ("v0.10.0", DOCUMENT))):
        document["info"]["x-number"] = number
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        git("add", "openapi.json")
        git("commit", "-m", tag)
        git("tag", tag)
    assert openapi_compatible.newest_release() == "v0.10.0"
    assert openapi_compatible.main() == 0
    _account(changed)["properties"].pop("login")
    (tmp_path / "openapi.json").write_text(json.dumps(changed))
    assert openapi_compatible.main() == 1
    assert "the member login is gone" in capsys.readouterr().out
