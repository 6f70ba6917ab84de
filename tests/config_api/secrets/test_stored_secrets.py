"""Secrets are write-only, encrypted or hashed in the database, never shown, and never sent to another host (C156)."""

from __future__ import annotations

import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from argon2 import PasswordHasher
from posthouse.config.v1 import config_pb2 as pb

from libs.runtime.lifecycle import StartupError
from services.config_api.changes.key_rotation import rotate
from services.config_api.secrets.sealing import KEY_FILE, Sealer, SealError
from tests.config_api.service import ANY_VERSION, Service, running, settings

PASSWORD = "correct horse battery staple"
AUTH = {"username": "gateway", "password": PASSWORD}
RULE: dict[str, Any] = {
    "name": "partner",
    "type": "recipient",
    "target_type": "domain",
    "targets": ["partner.example"],
    "relay_host": {"host": "smart.example", "port": 587, "always_tls": True, "auth": AUTH},
}


async def test_a_relay_host_password_reaches_relay_and_nobody_else(service: Service) -> None:
    made = await service.make("relay-rules", RULE)
    await service.change("/v1/settings/delivery", {"mode": "relay_host", "relay_host": RULE["relay_host"]})
    path = f"/v1/relay-rules/{made['id']}"
    assert "password" not in made["relay_host"]["auth"]
    for shown in (path, "/v1/relay-rules", "/v1/settings/delivery", "/v1/config:export", "/v1/audit-log"):
        assert PASSWORD not in (await service.api.get(shown)).text
    newest = (await service.get("/v1/revisions"))["items"][0]["number"]
    for number in range(1, newest + 1):
        assert PASSWORD not in (await service.api.get(f"/v1/revisions/{number}")).text
    relay, _ = await service.relay(lambda found: found.delivery.relay_host.host)
    assert relay.relay_rules[0].relay_host.auth.password == PASSWORD
    assert relay.delivery.relay_host.auth.password == PASSWORD
    policy, _ = await service.policy(lambda _: True)
    assert PASSWORD.encode() not in policy.SerializeToString()


async def test_account_passwords_are_hashed_and_only_policy_gets_them(service: Service) -> None:
    made = await service.make("accounts", {"login": "alice", "password": PASSWORD, "addresses": ["a@b.example"]})
    assert made["password_set"] is True
    assert "argon2" not in str(made)
    policy, _ = await service.policy(lambda found: found.accounts)
    hashed = policy.accounts[0].password_hash
    assert hashed.startswith("$argon2id$")
    assert PasswordHasher().verify(hashed, PASSWORD)
    relay, _ = await service.relay(lambda found: found.account_addresses)
    assert list(relay.account_addresses) == ["a@b.example"]
    assert b"argon2" not in relay.SerializeToString()
    for path in ("/v1/accounts", "/v1/config:export", "/v1/revisions/2", "/v1/audit-log"):
        text = (await service.api.get(path)).text
        assert "argon2" not in text
        assert PASSWORD not in text


async def test_absent_secrets_are_kept_and_null_removes_them(service: Service) -> None:
    made = await service.make("accounts", {"login": "alice", "password": PASSWORD})
    path = f"/v1/accounts/{made['id']}"
    assert (await service.change(path, {"enabled": False}))["password_set"] is True
    tag = (await service.api.get(path)).headers["etag"]
    put = await service.api.put(path, json={"login": "alicia"}, headers={"If-Match": tag})
    assert put.json()["password_set"] is True
    assert (await service.change(path, {"password": None}))["password_set"] is False


async def test_a_stored_password_is_never_used_for_another_server(service: Service) -> None:
    made = await service.make("relay-rules", RULE)
    path = f"/v1/relay-rules/{made['id']}"
    await service.change(path, {"position": 5, "relay_host": {"always_tls": True}})
    tag = (await service.api.get(path)).headers["etag"]
    for patch in ({"host": "elsewhere.example"}, {"port": 2525}, {"auth": {"username": "other"}}):
        answer = await service.api.patch(path, json={"relay_host": patch}, headers={"If-Match": tag})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/relay_host/auth/password"
    moved = {"relay_host": {"host": "elsewhere.example", "auth": {"password": "another"}}}
    await service.change(path, moved)
    relay, _ = await service.relay(lambda found: found.relay_rules[0].relay_host.host == "elsewhere.example")
    assert relay.relay_rules[0].relay_host.auth.password == "another"
    await service.change(path, {"relay_host": {"auth": None, "host": "third.example"}})
    relay, _ = await service.relay(lambda found: found.relay_rules[0].relay_host.host == "third.example")
    assert not relay.relay_rules[0].relay_host.HasField("auth")


async def test_a_login_at_a_relay_host_without_a_password_is_refused(on_sqlite: Service) -> None:
    rule = {**RULE, "relay_host": {"host": "smart.example", "auth": {"username": "gateway"}}}
    answer = await on_sqlite.api.post("/v1/relay-rules", json=rule)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/relay_host/auth/password"


async def test_no_secret_is_in_the_database_file_or_the_log(
    tmp_path: Path, resolver: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.sqlite3"
    async with running(f"sqlite:///{file}", tmp_path, nameservers=resolver) as service:
        await service.make("relay-rules", RULE)
        await service.make("accounts", {"login": "alice", "password": PASSWORD})
        await service.make("dkim-keys", {"domain": "b.example", "selector": "a"})
        key = (await service.make("api-keys", {"name": "x", "role": "reader"}))["key"]
        await service.api.post("/v1/api-keys", json={"name": "y", "role": "reader"}, headers={"Idempotency-Key": "k"})
    content = _content(tmp_path) + "".join(capfd.readouterr()).encode()
    assert PASSWORD.encode() not in content
    assert b"PRIVATE KEY" not in content
    assert key.encode() not in content
    assert b'"key":"ph_' not in content
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def _content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.name.startswith("config.sqlite3"))


async def test_f40_nothing_is_written_while_a_config_api_uses_the_file(tmp_path: Path, resolver: str) -> None:
    url = f"sqlite:///{tmp_path / 'config.sqlite3'}"
    async with running(url, tmp_path, nameservers=resolver) as service:
        key = (tmp_path / KEY_FILE).read_text()
        with pytest.raises(StartupError, match="another config_api already uses"):
            await rotate(settings(url, tmp_path))
        assert (tmp_path / KEY_FILE).read_text() == key
        await service.make("relay-rules", RULE)


async def test_the_secret_key_can_be_replaced(database_url: str, tmp_path: Path, resolver: str) -> None:
    async with running(database_url, tmp_path, nameservers=resolver) as service:
        await service.make("relay-rules", RULE)
        await service.change("/v1/settings/delivery", {"mode": "relay_host", "relay_host": RULE["relay_host"]})
        back = (await service.get("/v1/revisions"))["items"][0]["number"]
        await service.change("/v1/settings/delivery", {"mode": "direct", "relay_host": None})
    old = (tmp_path / KEY_FILE).read_text()
    # The four secrets are in the rule, in its change, in the change of the settings, and in the state before the next
    # change.
    assert await rotate(settings(database_url, tmp_path)) == 4
    assert (tmp_path / KEY_FILE).read_text() != old
    async with running(database_url, tmp_path, nameservers=resolver) as service:
        relay, _ = await service.relay(lambda found: found.relay_rules)
        assert relay.relay_rules[0].relay_host.auth.password == PASSWORD
        assert (await service.api.post(f"/v1/revisions/{back}:rollback", headers=ANY_VERSION)).status_code == 200
        relay, _ = await service.relay(lambda found: found.delivery.relay_host.host)
        assert relay.delivery.relay_host.auth.password == PASSWORD
    (tmp_path / KEY_FILE).write_text(old)
    with pytest.raises(StartupError, match="another key"):
        async with running(database_url, tmp_path, nameservers=resolver):
            pass


async def test_keys_from_the_environment_are_replaced_in_two_steps(tmp_path: Path, resolver: str) -> None:
    url = f"sqlite:///{tmp_path / 'config.sqlite3'}"
    first, second = "the first key of sixteen", "the second key of sixteen"
    async with running(url, tmp_path, nameservers=resolver, secret_key=first) as service:
        await service.make("relay-rules", RULE)
    with pytest.raises(StartupError, match="new key, a comma, and the old key"):
        await rotate(settings(url, tmp_path, secret_key=second))
    assert await rotate(settings(url, tmp_path, secret_key=f"{second},{first}")) == 2
    async with running(url, tmp_path, nameservers=resolver, secret_key=second) as service:
        relay, _ = await service.relay(lambda found: found.relay_rules)
        assert relay.relay_rules[0].relay_host.auth.password == PASSWORD
    with pytest.raises(StartupError, match="another key"):
        async with running(url, tmp_path, nameservers=resolver, secret_key=first):
            pass


def test_a_short_key_is_refused() -> None:
    with pytest.raises(StartupError, match="16 characters"):
        Sealer(["short"])


def test_an_encrypted_value_can_be_decrypted_only_with_its_key() -> None:
    sealed = Sealer(["one key of sixteen characters"]).seal("x")
    assert Sealer(["another key of sixteen", "one key of sixteen characters"]).open(sealed) == "x"
    with pytest.raises(SealError):
        Sealer(["another key of sixteen"]).open(sealed)


async def test_a_password_is_kept_in_the_form_that_policy_compares(on_sqlite: Service) -> None:
    """Passwords are stored in the form that RFC 8265 section 4.2.2 requires."""
    composed = unicodedata.normalize("NFC", "schlüssel")
    login = unicodedata.normalize("NFD", "jürgen")
    made = await on_sqlite.make("accounts", {"login": login, "password": unicodedata.normalize("NFD", composed)})
    assert made["login"] == unicodedata.normalize("NFC", login)
    policy, _ = await on_sqlite.policy(lambda found: found.accounts)
    assert PasswordHasher().verify(policy.accounts[0].password_hash, composed)


SHA512 = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
ARGON2ID = "$argon2id$v=19$m=19456,t=2,p=1$LaHH7/pTt+weEekoerUZOg$Lf1F7EQj6E8Ei1kB7j4/W32Dsq7Bm7aW7uLesneQBew"


async def _account(service: Service, until: Callable[[pb.PolicyAccount], bool]) -> pb.PolicyAccount:
    policy, _ = await service.policy(lambda found: any(until(account) for account in found.accounts))
    return policy.accounts[0]


async def test_an_account_can_be_imported_with_its_password_hash(service: Service) -> None:
    body = {"login": "moved", "password_hash": "{SHA512-CRYPT}" + SHA512}
    made = await service.make("accounts", body)
    assert made["password_set"] is True
    assert "password_hash" not in made
    path = f"/v1/accounts/{made['id']}"
    assert (await _account(service, lambda _: True)).password_hash == SHA512
    # A change of other members keeps the hash. A change of the hash replaces it.
    await service.change(path, {"enabled": True, "addresses": ["m@ours.example"]})
    assert (await _account(service, lambda account: bool(account.addresses))).password_hash == SHA512
    await service.change(path, {"password_hash": ARGON2ID})
    assert (await _account(service, lambda account: account.password_hash != SHA512)).password_hash == ARGON2ID
    assert (await service.change(path, {"password": None}))["password_set"] is False
    for fault, pointer in (
        ({"password_hash": "{PLAIN}secret"}, "/password_hash"),
        ({"password_hash": SHA512, "password": "x"}, "/password_hash"),
    ):
        refused = await service.api.post("/v1/accounts", json={"login": "other", **fault})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
        assert "secret" not in refused.text
        assert SHA512 not in refused.text
    assert SHA512 not in (await service.api.get("/v1/config:export")).text
    assert "$6$" not in (await service.api.get("/v1/audit-log")).text


async def test_a_hash_is_upgraded_only_while_the_password_is_the_same(service: Service) -> None:
    made = await service.make("accounts", {"login": "moved", "password_hash": SHA512})
    other = await service.make("accounts", {"login": "other", "password_hash": ARGON2ID})
    request = pb.UpgradePasswordHashesRequest()
    for account_id in (made["id"], other["id"], "01900000-0000-7000-8000-000000000000"):
        request.upgrades.add(account_id=account_id, old_hash=SHA512, new_hash=ARGON2ID, proof=b"proof")
    await service.watches.UpgradePasswordHashes(request)
    account = await _account(service, lambda account: account.password_hash == ARGON2ID and account.login == "moved")
    assert account.proof == b"proof"
    newest = (await service.get("/v1/revisions?limit=1"))["items"][0]
    assert (newest["actor"], newest["action"]) == ("posthouse", "upgradePasswordHashes")
    # The same upgrade again changes nothing and makes no revision.
    await service.watches.UpgradePasswordHashes(request)
    assert (await service.get("/v1/revisions?limit=1"))["items"][0]["number"] == newest["number"]
    # A login with the former password does not prove the new password.
    await service.change(f"/v1/accounts/{made['id']}", {"password": "another"})
    changed = await _account(service, lambda account: account.password_hash != ARGON2ID and account.login == "moved")
    assert changed.proof == b""


async def test_policy_may_only_send_argon2id_hashes(on_sqlite: Service) -> None:
    request = pb.UpgradePasswordHashesRequest()
    request.upgrades.add(account_id="x", old_hash=SHA512, new_hash=SHA512)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await on_sqlite.watches.UpgradePasswordHashes(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
