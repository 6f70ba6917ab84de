"""Databases and documents of commit 35f8a8f are upgraded, and get the defaults that have changed since then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from services.config_api.storage import tables
from services.config_api.storage.database import SCHEMA, Database
from tests.config_api.service import ANY_VERSION, Service, running

DATA = Path(__file__).with_name("data")
GENERAL = "/v1/settings/general"
JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def _upgraded(
    url: str, folder: Path, resolver: str, name: str, change: Callable[[dict[str, Any]], None] = lambda _: None
) -> AsyncIterator[tuple[Service, dict[str, Any]]]:
    """Runs config_api on the rows that 35f8a8f wrote to a database of the same kind. Also yields the export of that
    commit.

    `change` may alter the rows of the tables before they are stored.
    """
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    made = json.loads(await asyncio.to_thread((DATA / f"35f8a8f_{name}_{kind}.json").read_text))
    opened = Database(url)
    async with opened.writing() as connection:
        if not opened.is_sqlite:
            await connection.execute(text(f"CREATE SCHEMA {SCHEMA.service}"))
        await connection.run_sync(SCHEMA.upgrade, "0002")
        rows = made["tables"]
        change(rows)
        [head] = rows.pop("head")
        await connection.execute(update(tables.head).values(revision=head["revision"]))
        for table, of_table in rows.items():
            if of_table:
                await connection.execute(insert(tables.metadata.tables[table]), of_table)
    await opened.close()
    async with running(url, folder, nameservers=resolver, secret_key=made["secret_key"]) as service:
        yield service, made["export"]


async def _rules(service: Service) -> dict[str, dict[str, Any]]:
    return {rule["name"]: rule for rule in (await service.get("/v1/relay-rules"))["items"]}


@pytest.mark.parametrize(
    ("name", "over_limit"),
    [
        ("untouched", "reject_message"),
        # An operator changed the setting to reject_message and back.
        ("chosen", "defer_excess"),
    ],
)
async def test_f52_a_default_reaches_a_database_where_no_operator_changed_it(
    database_url: str, tmp_path: Path, resolver: str, name: str, over_limit: str
) -> None:
    async with _upgraded(database_url, tmp_path, resolver, name) as (service, _):
        profile = (await service.get(GENERAL))["profile"]
        assert (profile["hostname"], profile["recipients_over_limit"]) == ("gateway.example", over_limit)
        policy, _ = await service.policy(lambda _: True)
        assert policy.general.profile.reject_message_over_recipient_limit is (over_limit == "reject_message")
        # These other settings are unchanged.
        assert (await service.get("/v1/accounts"))["items"][0]["addresses"] == ["alice@ours.example"]
        assert (await service.get("/v1/relay-domains"))["items"][0]["domain"] == "passed.example"
        assert (await service.get("/v1/access-rules"))["items"][0]["action"] == "reject"


async def test_f52_the_tls_members_of_stored_relay_hosts_are_derived_again(
    database_url: str, tmp_path: Path, resolver: str
) -> None:
    async with _upgraded(database_url, tmp_path, resolver, "untouched") as (service, _):
        rules = await _rules(service)
        tls = {
            name: tuple(rule["relay_host"][member] for member in ("always_tls", "implicit_tls", "verify_certificate"))
            for name, rule in rules.items()
        }
        # A relay host that requires TLS without verification may have been configured so on purpose, so it is not
        # changed.
        assert tls == {
            "stale": (True, False, False),
            "smtps": (False, True, False),
            "plain": (False, False, False),
            "strict": (True, False, True),
            "explicit": (True, False, False),
            "moved": (False, False, False),
        }
        for name in ("stale", "smtps", "explicit"):
            answer = await service.change(f"/v1/relay-rules/{rules[name]['id']}", {"position": 9})
            assert "unverified_tls" in {warning["code"] for warning in answer["warnings"]}, name
        plain = await service.change(f"/v1/relay-rules/{rules['plain']['id']}", {"relay_host": {"always_tls": True}})
        assert plain["relay_host"]["verify_certificate"] is True
        relay, _ = await service.relay(
            lambda snapshot: any(rule.name == "plain" and rule.relay_host.always_tls for rule in snapshot.relay_rules)
        )
        assert {rule.name: rule.relay_host.verify_certificate for rule in relay.relay_rules}["plain"]
        assert relay.delivery.relay_host.auth.password == "old-password"


async def test_f52_rollback_derives_the_defaults_of_older_bodies(
    database_url: str, tmp_path: Path, resolver: str
) -> None:
    async with _upgraded(database_url, tmp_path, resolver, "untouched") as (service, _):
        await service.change(GENERAL, {"profile": {"recipients_over_limit": "defer_excess", "max_hops": 7}})
        rules = await _rules(service)
        # The password was given when the relay host had less protection than it has by now.
        answer = await service.api.post("/v1/revisions/3:rollback", headers=ANY_VERSION)
        assert answer.status_code == 422, answer.text
        pointers = {error["pointer"]: error["code"] for error in answer.json()["errors"]}
        assert pointers == {f"/relay-rules/{rules['stale']['id']}/relay_host/auth/password": "secret_needed"}
        assert (await service.api.post("/v1/revisions/4:rollback", headers=ANY_VERSION)).status_code == 200
        profile = (await service.get(GENERAL))["profile"]
        assert (profile["recipients_over_limit"], profile["max_hops"]) == ("reject_message", 50)
        assert set(await _rules(service)) == {"stale"}


async def test_f52_import_derives_the_defaults_of_older_documents(
    database_url: str, tmp_path: Path, resolver: str
) -> None:
    async with _upgraded(database_url, tmp_path, resolver, "untouched") as (service, export):
        answer = await service.api.post("/v1/config:import", json=export, headers=ANY_VERSION)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["made"], answer.json()["changed"], answer.json()["removed"]) == (0, 0, 0)
        await service.change(GENERAL, {"profile": {"recipients_over_limit": "defer_excess"}})
        assert (await service.api.post("/v1/config:import", json=export, headers=ANY_VERSION)).status_code == 200
        assert (await service.get(GENERAL))["profile"]["recipients_over_limit"] == "reject_message"
        weaker = json.loads(json.dumps(export))
        weaker["settings"]["delivery"]["relay_host"].update(always_tls=False, verify_certificate=False)
        answer = await service.api.post("/v1/config:import", json=weaker, headers=ANY_VERSION)
        assert answer.status_code == 422, answer.text
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
            ("/settings/delivery/relay_host/auth/password", "secret_needed")
        ]
        weaker["settings"]["delivery"]["relay_host"]["auth"]["password"] = "once more"
        assert (await service.api.post("/v1/config:import", json=weaker, headers=ANY_VERSION)).status_code == 200


async def test_a_document_of_the_first_format_makes_a_new_gateway(begun: Path, resolver: str) -> None:
    export = json.loads((DATA / "35f8a8f_untouched_sqlite.json").read_text())["export"]
    assert export["format"] == "posthouse/1"
    for body in (export["settings"]["delivery"], *export["relay-rules"]):
        if body["relay_host"]["auth"] is not None:
            body["relay_host"]["auth"]["password"] = "secret"
    async with running(f"sqlite:///{begun / 'config.sqlite3'}", begun, nameservers=resolver) as service:
        answer = await service.api.post("/v1/config:import", json=export, headers=ANY_VERSION)
        assert answer.status_code == 200, answer.text
        assert (await service.get(GENERAL))["profile"]["recipients_over_limit"] == "reject_message"
        plain = (await _rules(service))["plain"]
        changed = await service.change(f"/v1/relay-rules/{plain['id']}", {"relay_host": {"always_tls": True}})
        assert changed["relay_host"]["verify_certificate"] is True
        newer = await service.get("/v1/config:export")
        assert newer["format"] == "posthouse/2"
        again = await service.api.post("/v1/config:import", json=newer, headers=ANY_VERSION)
        assert (again.json()["made"], again.json()["changed"], again.json()["removed"]) == (0, 0, 0)


async def test_recipients_of_relay_domains_move_to_their_list(database_url: str, tmp_path: Path, resolver: str) -> None:
    async with _upgraded(database_url, tmp_path, resolver, "untouched") as (service, export):
        (domain,) = (await service.get("/v1/relay-domains"))["items"]
        assert (domain["domain"], domain["recipients"]) == ("passed.example", "list")
        (recipient,) = (await service.get("/v1/recipients"))["items"]
        assert recipient["address"] == "a@passed.example"
        policy, _ = await service.policy(lambda _: True)
        assert [bucket.keys for bucket in policy.recipients] == [b"\na@passed.example\n"]
        # An import of the older document keeps the list. A domain without recipients accepts any address.
        assert (await service.api.post("/v1/config:import", json=export, headers=ANY_VERSION)).status_code == 200
        assert (await service.get("/v1/relay-domains"))["items"][0]["recipients"] == "list"
        export["relay-domains"][0]["recipients"] = []
        assert (await service.api.post("/v1/config:import", json=export, headers=ANY_VERSION)).status_code == 200
        assert (await service.get("/v1/relay-domains"))["items"][0]["recipients"] == "any"
        assert len((await service.get("/v1/recipients"))["items"]) == 1
        # When the recipient is removed and listed again, the digest is the one that the migration wrote.
        removed = await service.api.delete(f"/v1/recipients/{recipient['id']}", headers={"If-Match": "*"})
        assert removed.status_code == 204
        newest = (await service.get("/v1/revisions?limit=1"))["items"][0]["number"]
        (change,) = (await service.get(f"/v1/revisions/{newest}"))["changes"]
        assert {each["pointer"]: each["after"] for each in change["differences"]} == {
            "/count": 0,
            "/digest": "0" * 64,
        }


@pytest.mark.parametrize("with_mailbox", [True, False])
async def test_marked_mail_still_goes_to_existing_quarantine_mailboxes_after_the_upgrade(
    database_url: str, tmp_path: Path, resolver: str, with_mailbox: bool
) -> None:
    mailbox = {"kind": "lmtp", "host": "192.0.2.9", "port": 24} if with_mailbox else None

    def change(rows: dict[str, Any]) -> None:
        (domain,) = [row for row in rows["documents"] if row["kind"] == "local-domains"]
        domain["body"] = json.dumps({**json.loads(domain["body"]), "quarantine_mailbox": mailbox})

    async with _upgraded(database_url, tmp_path, resolver, "untouched", change) as (service, _):
        shown = await service.get("/v1/settings/content-checks")
        assert shown["quarantine"] == ("mailbox" if with_mailbox else "mark")
