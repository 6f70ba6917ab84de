"""Changes that are accepted with a warning: dangling references, rules that never act, aliases that end nowhere."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from services.config_api.resources.general import FALLBACK_HOSTNAME
from services.config_api.storage.tables import documents
from tests.config_api.service import START_SECONDS, Service, running, writing
from tests.peers.dns import Behaviour, DnsServer

ANY = {"If-Match": "*"}


def _codes(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(found["pointer"], found["code"]) for found in answer["warnings"]]


async def _removed(service: Service, path: str) -> list[tuple[str, str]]:
    answer = await service.api.delete(path, headers=ANY)
    assert answer.status_code in (200, 204), answer.text
    return [(found["code"], found["detail"]) for found in answer.json()["warnings"]] if answer.content else []


async def _world(service: Service) -> dict[str, str]:
    """Creates objects that refer to each other, and returns their paths."""
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "domain": ("local-domains", {"name": "ours.test", "mailbox": {"kind": "maildir", "path": "/srv/mail"}}),
        "alice": ("accounts", {"login": "alice", "addresses": ["alice@ours.test"]}),
        "sales": ("aliases", {"address": "sales@ours.test", "targets": ["Alice@ours.test"]}),
        "shop": ("aliases", {"address": "shop@ours.test", "targets": ["sales@ours.test"]}),
        "key": ("dkim-keys", {"domain": "ours.test", "selector": "a", "algorithm": "ed25519-sha256"}),
    }
    return {name: f"/v1/{kind}/{(await service.make(kind, body))['id']}" for name, (kind, body) in bodies.items()}


async def test_f21_objects_that_refer_to_a_removed_object_are_named(service: Service) -> None:
    paths = await _world(service)
    await service.change("/v1/settings/general", {"external_postmasters": ["alice@ours.test"]})
    await service.make("local-domains", {"name": "other.test", "catch_all": "Alice@ours.test"})
    await service.make("local-domains", {"name": "third.test", "catch_all": "sales@ours.test"})
    await service.make("api-keys", {"name": "Shop", "role": "sender", "account": "alice"})
    warnings = await _removed(service, paths["domain"])
    assert [code for code, _ in warnings] == [
        "domain_of_account",
        "domain_of_alias",
        "domain_of_alias",
        "domain_of_dkim_key",
        "domain_of_postmaster",
        "domain_of_catch_all",
        "domain_of_catch_all",
    ]
    for number, name in enumerate(
        ("alice", "sales@ours.test", "shop@ours.test", "key a", "alice@", "other.", "third.")
    ):
        assert name in warnings[number][1]
    assert [code for code, _ in await _removed(service, paths["key"])] == ["last_key_of_domain"]
    assert [code for code, _ in await _removed(service, paths["alice"])] == [
        "target_of_alias",
        "external_postmaster",
        "catch_all",
        "account_of_api_key",
    ]
    assert [code for code, _ in await _removed(service, paths["sales"])] == ["target_of_alias", "catch_all"]
    assert await _removed(service, paths["shop"]) == []


async def test_f21_objects_that_refer_to_a_disabled_account_are_named(on_sqlite: Service) -> None:
    paths = await _world(on_sqlite)
    assert ("", "target_of_alias") in _codes(await on_sqlite.change(paths["alice"], {"enabled": False}))
    assert _codes(await on_sqlite.change(paths["alice"], {"login": "alicia"})) == []


async def test_f21_objects_that_refer_to_a_changed_name_or_address_are_named(on_sqlite: Service) -> None:
    """F21: the changes remove an address of an account, and rename a login, an alias and a domain."""
    paths = await _world(on_sqlite)
    await on_sqlite.make("api-keys", {"name": "Shop", "role": "sender", "account": "alice"})
    for path, change, codes in (
        (paths["alice"], {"addresses": ["ALICE@ours.test", "more@ours.test"]}, []),
        (paths["alice"], {"addresses": ["more@ours.test"]}, ["target_of_alias"]),
        (paths["alice"], {"login": "alicia"}, ["account_of_api_key"]),
        (paths["sales"], {"address": "Sales@ours.test", "targets": ["more@ours.test"]}, []),
        (paths["sales"], {"address": "sold@ours.test"}, ["target_of_alias"]),
        (paths["key"], {"enabled": False}, ["last_key_of_domain"]),
    ):
        assert [code for pointer, code in _codes(await on_sqlite.change(path, change)) if not pointer] == codes
    renamed = [code for _, code in _codes(await on_sqlite.change(paths["domain"], {"name": "theirs.test"}))]
    assert {"domain_of_account", "domain_of_alias", "domain_of_dkim_key"} <= set(renamed)


async def _batch(service: Service, kind: str, *operations: dict[str, Any]) -> list[tuple[str, str]]:
    answer = await service.api.post(f"/v1/{kind}:batch", json={"operations": operations})
    assert answer.status_code == 200, answer.text
    return _codes(answer.json())


def _deletion(path: str) -> dict[str, Any]:
    return {"action": "delete", "id": path.rpartition("/")[2], "if_match": "*"}


def _replacement(path: str, **body: Any) -> dict[str, Any]:
    return {**_deletion(path), "action": "replace", "object": body}


async def test_f21_a_batch_names_objects_that_refer_to_its_deleted_objects(service: Service) -> None:
    """F21: the warnings are those of single writes. One list contains them all, with the place of each operation."""
    paths = await _world(service)
    await service.make("local-domains", {"name": "other.test", "catch_all": "alice@ours.test"})
    await service.make("api-keys", {"name": "Shop", "role": "sender", "account": "alice"})
    bob = await service.make("accounts", {"login": "bob", "addresses": ["bob@ours.test"]})
    assert await _batch(service, "accounts", _deletion(f"/v1/accounts/{bob['id']}"), _deletion(paths["alice"])) == [
        ("/operations/1", "target_of_alias"),
        ("/operations/1", "catch_all"),
        ("/operations/1", "account_of_api_key"),
    ]
    assert await _batch(service, "dkim-keys", _deletion(paths["key"])) == [("/operations/0", "last_key_of_domain")]
    assert await _batch(service, "local-domains", _deletion(paths["domain"])) == [
        ("/operations/0", "domain_of_alias"),
        ("/operations/0", "domain_of_alias"),
        ("/operations/0", "domain_of_catch_all"),
    ]


async def test_f21_a_batch_names_objects_that_refer_to_values_that_it_removes(service: Service) -> None:
    paths = await _world(service)
    await service.make("api-keys", {"name": "Shop", "role": "sender", "account": "alice"})
    account = {"login": "alice", "addresses": ["alice@ours.test"]}
    assert await _batch(service, "accounts", _replacement(paths["alice"], **account, enabled=False)) == [
        ("/operations/0/object", "target_of_alias"),
        ("/operations/0/object", "account_of_api_key"),
    ]
    assert await _batch(service, "accounts", _replacement(paths["alice"], **account)) == []
    assert await _batch(service, "accounts", _replacement(paths["alice"], **{**account, "addresses": []})) == [
        ("/operations/0/object", "target_of_alias")
    ]


async def test_f21_a_reference_that_the_same_batch_corrects_is_not_named(service: Service) -> None:
    """The references of an alias that the batch deletes or changes do not count. Those of a new alias do."""
    paths = await _world(service)
    both = (_deletion(paths["shop"]), _deletion(paths["sales"]))
    assert await _batch(service, "aliases", *both) == []
    old = await service.make("aliases", {"address": "old@ours.test", "targets": ["alice@ours.test"]})
    user = await service.make("aliases", {"address": "user@ours.test", "targets": ["old@ours.test"]})
    operations = (
        _deletion(f"/v1/aliases/{old['id']}"),
        _replacement(f"/v1/aliases/{user['id']}", address="user@ours.test", targets=["alice@ours.test"]),
    )
    assert await _batch(service, "aliases", *operations) == []
    made = {"action": "create", "object": {"address": "new@ours.test", "targets": ["user@ours.test"]}}
    warnings = await _batch(service, "aliases", _deletion(f"/v1/aliases/{user['id']}"), made)
    assert ("/operations/0", "target_of_alias") in warnings


async def test_f18_an_alias_that_leads_to_no_account_gives_a_warning(service: Service) -> None:
    paths = await _world(service)
    ghost = {"address": "ghostly@ours.test", "targets": ["ghost@ours.test"]}
    assert _codes(await service.make("aliases", ghost)) == [("/targets/0", "no_account")]
    chain = {"address": "chain@ours.test", "targets": ["ghostly@ours.test", "sales@ours.test", "x@elsewhere.test"]}
    assert _codes(await service.make("aliases", chain)) == [("/targets/0", "no_account")]
    await service.change(paths["alice"], {"enabled": False})
    changed = await service.change(paths["sales"], {"targets": ["alice@ours.test"]})
    assert _codes(changed) == [("/targets/0", "no_account")]


async def test_f19_an_alias_that_leads_back_to_itself_gives_a_warning(service: Service) -> None:
    await _world(service)
    first = {"address": "one@ours.test", "targets": ["two@ours.test"]}
    assert _codes(await service.make("aliases", first)) == [("/targets/0", "no_account")]
    second = {"address": "two@ours.test", "targets": ["ONE@ours.test"]}
    assert _codes(await service.make("aliases", second)) == [("/targets/0", "loop")]
    third = {"address": "three@ours.test", "targets": ["three@ours.test", "alice@ours.test"]}
    assert _codes(await service.make("aliases", third)) == [("/targets/0", "loop")]


RULE = {"list": "block", "criterion": "sender", "value": "x@spam.test"}
ALLOW = {"list": "allow", "criterion": "domain", "value": "spam.test"}


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (ALLOW, RULE, "covered"),
        (RULE, ALLOW, "covers"),
        ({**ALLOW, "value": ".test"}, RULE, "covered"),
        ({**ALLOW, "value": ".spam.test"}, RULE, ""),
        ({**ALLOW, "mode": "shadow"}, RULE, ""),
        ({**ALLOW, "mode": "off"}, RULE, ""),
        ({"list": "allow", "criterion": "sender", "value": "X@spam.test"}, RULE, "covered"),
        ({**ALLOW, "value": ".test"}, {**RULE, "criterion": "domain", "value": "spam.test"}, "covered"),
        ({**ALLOW, "value": ".test"}, {**RULE, "criterion": "domain", "value": ".spam.test"}, "covered"),
        (
            {"list": "allow", "criterion": "network", "value": "192.0.2.0/24"},
            {"list": "block", "criterion": "ip", "value": "192.0.2.7"},
            "covered",
        ),
        (
            {"list": "allow", "criterion": "ip", "value": "192.0.2.7"},
            {"list": "block", "criterion": "network", "value": "192.0.2.0/24"},
            "",
        ),
        (
            {"list": "block", "criterion": "network", "value": "192.0.2.0/25"},
            {"list": "allow", "criterion": "network", "value": "192.0.2.0/24"},
            "covers",
        ),
        # A sender can be forged, so an allow rule for a sender does not lift a block of an IP address.
        (ALLOW, {"list": "block", "criterion": "ip", "value": "192.0.2.7"}, ""),
        (
            {"list": "allow", "criterion": "recipient", "value": "a@ours.test"},
            {"list": "block", "criterion": "recipient", "value": "a@ours.test"},
            "covered",
        ),
    ],
)
async def test_f28_rules_that_never_act_give_a_warning(
    on_sqlite: Service, first: dict[str, Any], second: dict[str, Any], code: str
) -> None:
    assert _codes(await on_sqlite.make("access-rules", first)) == []
    assert _codes(await on_sqlite.make("access-rules", second)) == ([("/value", code)] if code else [])


async def test_f28_rules_that_ended_or_match_everybody_give_a_warning(on_sqlite: Service) -> None:
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    ended = await on_sqlite.make("access-rules", {**RULE, "expires_at": past})
    assert _codes(ended) == [("/expires_at", "ended")]
    everyone = {"list": "block", "criterion": "network", "value": "0.0.0.0/0"}
    assert _codes(await on_sqlite.make("access-rules", everyone)) == [("/value", "everyone")]
    await on_sqlite.make("trusted-networks", {"name": "n", "networks": ["198.51.100.0/24"]})
    exempt = {"list": "allow", "criterion": "network", "value": "198.51.100.8/29"}
    assert _codes(await on_sqlite.make("access-rules", exempt)) == [("/value", "exempt")]


async def test_f36_a_relay_domain_that_accepts_any_recipient_gives_a_warning(on_sqlite: Service) -> None:
    made = await on_sqlite.make("relay-domains", {"domain": "r.test"})
    assert ("/recipients", "any_recipient") in _codes(made)
    changed = await on_sqlite.change(f"/v1/relay-domains/{made['id']}", {"recipients": "list"})
    assert ("/recipients", "any_recipient") not in _codes(changed)
    assert ("/recipients", "empty_list") in _codes(changed)
    await on_sqlite.make("recipients", {"address": "a@r.test"})
    changed = await on_sqlite.change(f"/v1/relay-domains/{made['id']}", {"name": "r"})
    assert ("/recipients", "empty_list") not in _codes(changed)


async def test_f37_a_hostname_that_names_no_machine_gives_a_warning(begun: Path, resolver: str) -> None:
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    ports = {"INGRESS_SMTP_PORT": 25}
    async with running(url, begun, nameservers=resolver, **ports) as service:
        general = "/v1/settings/general"
        told = ("/profile/hostname", "hostname_default")
        answer = await service.change(general, {"profile": {"hostname": FALLBACK_HOSTNAME, "banner": "x"}})
        assert told in _codes(answer)
        # Mail goes through a relay host, but on port 25.
        await service.change("/v1/settings/delivery", {"mode": "relay_host", "relay_host": {"host": "smart.test"}})
        assert told in _codes(await service.change(general, {"profile": {"banner": "y"}}))
        assert told not in _codes(await service.change(general, {"profile": {"hostname": "gateway.test"}}))


async def test_f37_f43_f52_warnings_about_stored_settings_are_logged_at_the_start(
    begun: Path, resolver: str, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=resolver) as service:
        await service.change("/v1/settings/general", {"profile": {"hostname": FALLBACK_HOSTNAME}})
        made = await service.make("local-domains", {"name": "a.test", "mailbox": {"kind": "maildir", "path": "/srv/a"}})
        async with writing(service) as connection:
            where = (documents.c.kind == "local-domains", documents.c.id == made["id"])
            body = '{"name":"a.test","mailbox":{"kind":"maildir","path":"/etc/mail"}}'
            await connection.execute(update(documents).where(*where).values(body=body))
        rule = {"name": "x", "type": "sender", "target_type": "domain", "targets": ["b.test"]}
        host = {"host": "smart.test", "always_tls": True, "verify_certificate": False}
        await service.make("relay-rules", {**rule, "relay_host": host})
        path = f"/v1/local-domains/{made['id']}"
        # Other members of the domain can still be changed. Its path cannot be changed to another forbidden path.
        assert ("/mailbox/path", "maildir_root") in _codes(await service.change(path, {"quarantine_mailbox": None}))
        patch = {"mailbox": {"path": "/root/mail"}}
        assert (await service.api.patch(path, json=patch, headers=ANY)).status_code == 422
    log = capfd.readouterr().out
    assert "unverified_tls" not in log
    log = ""
    async with running(url, begun, nameservers=resolver), asyncio.timeout(START_SECONDS):
        while not all(code in log for code in ("hostname_default", "maildir_root", "unverified_tls")):
            log += capfd.readouterr().out
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/etc", "/etc/mail", "/dev/null", "/proc/self", "/sys", "/run/x", "/root", "{data}", "{data}/relay/q"),
        # On Linux two slashes at the start of a path mean the same as one.
        *("//", "//etc", "//dev/null", "/{data}/relay/q"),
    ],
)
async def test_f43_a_maildir_path_in_a_system_folder_is_refused(on_sqlite: Service, path: str) -> None:
    mailbox = {"kind": "maildir", "path": path.format(data=on_sqlite.data_dir)}
    for member in ("mailbox", "quarantine_mailbox"):
        answer = await on_sqlite.api.post("/v1/local-domains", json={"name": "a.test", member: mailbox})
        assert answer.status_code == 422, answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{member}/path"]


async def test_f43_maildirs_are_limited_to_the_configured_roots(begun: Path, resolver: str) -> None:
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=resolver, POSTHOUSE_MAILDIR_ROOTS="/srv/mail, /var/mail") as service:
        for number, (path, status) in enumerate(
            (("/srv/mail/a", 201), ("/var/mail", 201), ("/srv/mailbox", 422), ("/srv", 422), ("/tmp/x", 422))
        ):
            body = {"name": f"d{number}.test", "mailbox": {"kind": "maildir", "path": path}}
            assert (await service.api.post("/v1/local-domains", json=body)).status_code == status, path


async def test_f30_block_lists_with_wrong_test_entries_give_a_warning(begun: Path, dns_server: DnsServer) -> None:
    dns_server.load(
        {
            "2.0.0.127.good.test": {"A": "127.0.0.2"},
            "1.0.0.127.everybody.test": {"A": "127.0.0.2"},
            "2.0.0.127.everybody.test": {"A": "127.0.0.2"},
            "*.refusing.test": {"A": "127.255.255.254"},
            "*.parked.test": {"A": "192.0.2.1"},
            # An IPv6 address as the answer does not mean that the name is listed.
            "2.0.0.127.other.test": {"AAAA": "::1"},
        }
    )
    dns_server.behave("*.failing.test", Behaviour.SERVFAIL)
    dns_server.behave("*.silent.test", Behaviour.SILENT)
    faults = {
        "good.test": "",
        "none.test": "zone_without_test_entry",
        "everybody.test": "zone_lists_everybody",
        "refusing.test": "zone_refuses",
        "parked.test": "zone_refuses",
        "other.test": "zone_without_test_entry",
        "failing.test": "zone_no_answer",
        "silent.test": "zone_no_answer",
    }
    expected = [(f"/dnsbl/zones/{number}/zone", code) for number, code in enumerate(faults.values()) if code]
    body = {"dnsbl": {"mode": "enforce", "zones": [{"zone": zone} for zone in faults]}}
    path = "/v1/settings/content-checks"
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=dns_server.address) as service:
        assert _codes(await service.change(path, body)) == expected
        replaced = await service.api.put(path, json=body, headers=ANY)
        assert (replaced.status_code, _codes(replaced.json())) == (200, expected)
        assert _codes(await service.change(path, {"dnsbl": {"zones": [{"zone": "good.test"}]}})) == []


async def test_f60_a_relay_domain_is_looked_up_at_the_configured_name_servers(
    begun: Path, dns_server: DnsServer, resolver: str
) -> None:
    """The domain has only an A record, which both sets of name servers know. Later one of the servers is silent."""
    dns_server.load({"bare.test": {"A": "192.0.2.9"}})
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    # The name servers of the process do not know the domain.
    async with running(url, begun, nameservers=resolver) as service, _silent() as silent:
        servers = {"preferred": [dns_server.address], "alternate": [dns_server.address]}
        await service.change("/v1/settings/resolvers", servers)
        await service.make("recipients", {"address": "a@bare.test"})
        body = {"domain": "bare.test", "recipients": "list"}
        made = await service.make("relay-domains", body)
        assert _codes(made) == []
        await service.change("/v1/settings/resolvers", {"alternate": [silent]})
        changed = await service.change(f"/v1/relay-domains/{made['id']}", {"name": "x"})
        assert _codes(changed) == [("/domain", "name_server_silent")]


class _silent:  # noqa: N801 - used as a function
    """A name server that answers no question about the domain."""

    def __init__(self) -> None:
        self._server = DnsServer()

    async def __aenter__(self) -> str:
        server = self._server.__enter__()
        server.behave("bare.test", Behaviour.SILENT)
        return server.address

    async def __aexit__(self, *error: object) -> None:
        self._server.__exit__(None, None, None)
