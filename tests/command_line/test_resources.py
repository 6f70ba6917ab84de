"""The table of collections agrees with the API, and arguments become the members that the API accepts."""

from __future__ import annotations

import importlib

import posthouse_client.models
import pytest

from services.command_line.failures import CommandError
from services.command_line.resources import KINDS, Kind, _of_another_kind, members

ACCOUNT = next(kind for kind in KINDS if kind.command == "account")
DOMAIN = next(kind for kind in KINDS if kind.command == "domain")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.command)
def test_every_operation_and_member_of_a_collection_exists(kind: Kind) -> None:
    for verb in ("list", "get", "create", "update", "delete"):
        importlib.import_module(f"posthouse_client.api.{kind.name(verb)}")
    annotations = getattr(posthouse_client.models, kind.model).__annotations__
    model = {name.removesuffix("_") for name in annotations}
    top_level_secrets = {name for name in kind.secrets if "." not in name}
    assert {kind.key, *kind.columns, *kind.told, *top_level_secrets} <= model


def test_values_get_the_types_of_the_members() -> None:
    assert members(ACCOUNT, ["addresses=a@x.test,b@x.test", "enabled=false", "login=42"]) == {
        "addresses": ["a@x.test", "b@x.test"],
        "enabled": False,
        "login": "42",
    }
    assert members(DOMAIN, ["mailbox.kind=smtp", "mailbox.port=24"]) == {"mailbox": {"kind": "smtp", "port": 24}}


def test_a_change_of_the_kind_of_mailbox_removes_the_members_of_the_former_kind() -> None:
    present = {"name": "x.test", "mailbox": {"kind": "maildir", "path": "/srv/mail"}, "catch_all": None}
    patch = {"mailbox": {"kind": "smtp", "host": "mail.x.test"}}
    assert _of_another_kind(patch, present) == {"mailbox": {"kind": "smtp", "path": None, "host": "mail.x.test"}}
    for other in ({"mailbox": {"kind": "maildir", "path": "/mail"}}, {"mailbox": {"path": "/mail"}}, {"mailbox": None}):
        assert _of_another_kind(other, present) == other
    assert _of_another_kind(patch, {**present, "mailbox": None}) == patch


@pytest.mark.parametrize("assignment", ["password=secret", "nothing", "=x"])
def test_secrets_in_arguments_and_arguments_without_assignment_are_wrong_usage(assignment: str) -> None:
    with pytest.raises(CommandError) as refused:
        members(ACCOUNT, [assignment])
    assert refused.value.status == 2
    assert "secret" not in str(refused.value)
