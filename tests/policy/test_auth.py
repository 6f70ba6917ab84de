"""AUTH: who is let in, what it costs, what is remembered, how failures are limited."""

from __future__ import annotations

import asyncio
import threading
import unicodedata
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from services.policy import credentials, failures
from services.policy.credentials import CredentialChecker, Credentials
from services.policy.failures import failure_limits
from services.policy.rules.authentication import CredentialOutcome
from tests.peers.redis import Redis
from tests.policy.requests import auth, rcpt, replied
from tests.policy.serving import serving
from tests.policy.world import CHEAP, PASSWORD, snapshot

ALICE = {"id": "a1", "login": "alice", "password_hash": CHEAP.hash(PASSWORD), "addresses": ["Alice@local.test"]}
UNDER = snapshot({"accounts": [ALICE]})


@pytest.fixture
def checker() -> Iterator[CredentialChecker]:
    made = CredentialChecker(failure_limits("memory://"))
    yield made
    made.close()


def given(login: bytes = b"alice", password: bytes = PASSWORD) -> Credentials:
    return Credentials("PLAIN", b"", login, password)


async def test_replies_to_auth() -> None:
    async with serving(snapshot()) as policy:
        right = await policy.decide(auth("alice"))
        assert (replied(right), right.account, right.HasField("profile")) == ("accept", "alice", True)
        assert replied(await policy.decide(auth("alice", identity="alice"))) == "accept"
        assert replied(await policy.decide(auth("alice", identity="bob"))) == "535 5.7.8"
        assert replied(await policy.decide(auth("alice", b"wrong"))) == "535 5.7.8"
        assert replied(await policy.decide(auth("nobody"))) == "535 5.7.8"
        assert replied(await policy.decide(auth("alice", b""))) == "535 5.7.8"
        assert replied(await policy.decide(auth("alice", tls=False))) == "538 5.7.11"
        odd = auth("alice")
        odd.credentials.login = b"al\xff\r\n250 ok\x00ice"
        assert replied(await policy.decide(odd)) == "535 5.7.8"


async def test_an_account_that_changes_must_log_in_anew() -> None:
    async with serving(snapshot()) as policy:
        assert replied(await policy.decide(auth("alice"))) == "accept"
        changed = [{"id": "a1", "login": "alice", "password_hash": CHEAP.hash(b"another")}]
        policy.engine.use(snapshot({"accounts": changed}))
        assert replied(await policy.decide(auth("alice"))) == "535 5.7.8"
        assert replied(await policy.decide(auth("alice", b"another"))) == "accept"
        policy.engine.use(snapshot({"accounts": []}))
        assert replied(await policy.decide(auth("alice", b"another"))) == "535 5.7.8"


async def test_f61_a_login_lapses_with_its_password_and_with_its_account() -> None:
    alice = {"id": "a1", "login": "alice", "addresses": ["alice@local.test"], "password_hash": CHEAP.hash(PASSWORD)}
    changed = {**alice, "password_hash": CHEAP.hash(b"another")}
    async with serving(snapshot({"accounts": [alice]})) as policy, policy.stream() as stream:
        proof = (await policy.decide(auth("alice"))).account_proof
        assert proof
        for revision, accounts, wanted in (
            (7, [alice], ("accept", False)),
            # Another setting changed.
            (8, [alice], ("accept", False)),
            # Here the password did, and then the account is gone.
            (9, [changed], ("554 5.7.1", True)),
            (10, [], ("554 5.7.1", True)),
        ):
            policy.engine.use(snapshot({"revision": revision, "accounts": accounts}))
            made = rcpt("x@elsewhere.test", "alice@local.test", account_login="alice", account_proof=proof)
            (verdict,) = await stream.ask(made)
            codes = replied(verdict)
            assert ("554 5.7.1" if codes == "553 5.7.1" else codes, verdict.login_lapsed) == wanted, revision


async def test_logins_and_passwords_are_the_same_however_they_are_composed(checker: CredentialChecker) -> None:
    """RFC 8265 3.3.2, 4.2.2: the API keeps both in NFC, and keyboards differ."""
    under = snapshot({"accounts": [{"id": "a2", "login": "jürgen", "password_hash": CHEAP.hash("schlüssel")}]})
    for form in ("NFC", "NFD"):
        login, password = (unicodedata.normalize(form, text).encode() for text in ("jürgen", "schlüssel"))
        for identity in (b"", login, "jürgen".encode()):
            asked = Credentials("PLAIN", identity, login, password)
            assert (await checker.check(asked, under, "c"))[0] is CredentialOutcome.ACCEPTED, (form, identity)
        asked = Credentials("PLAIN", b"jurgen", login, password)
        assert (await checker.check(asked, under, "c"))[0] is CredentialOutcome.REFUSED
    asked = Credentials("LOGIN", b"", b"j\xfcrgen", b"schl\xfcssel")
    assert (await checker.check(asked, under, "c"))[0] is CredentialOutcome.REFUSED


async def test_a_success_is_remembered_and_nothing_else(
    checker: CredentialChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    whole = PasswordHasher.verify

    def counting(self: PasswordHasher, hashed: str, password: bytes) -> bool:
        checked.append(password)
        return whole(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    for password in (PASSWORD, PASSWORD, b"wrong", b"wrong", PASSWORD):
        await checker.check(given(password=password), UNDER, "c")
    assert checked == [PASSWORD, b"wrong", b"wrong"]
    checker.forget()
    await checker.check(given(), UNDER, "c")
    assert checked[3:] == [PASSWORD]


async def test_an_unknown_login_costs_what_a_wrong_password_costs(
    checker: CredentialChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured in what is computed: one verification with the parameters of the accounts."""
    parameters = []
    whole = PasswordHasher.verify

    def noting(self: PasswordHasher, hashed: str, password: bytes) -> bool:
        parameters.append(hashed.rsplit("$", 2)[0])
        return whole(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", noting)
    # The first of them has no password.
    under = snapshot({"accounts": [{"id": "a0", "login": "carol", "password_hash": ""}, ALICE]})
    for login in (b"alice", b"nobody", b"carol"):
        assert (await checker.check(given(login, b"wrong"), under, "c"))[0] is CredentialOutcome.REFUSED
    assert len(parameters) == 3
    assert len(set(parameters)) == 1


async def test_a_full_pool_is_no_wrong_password(checker: CredentialChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """C72: 454, and nothing is held against the client."""
    monkeypatch.setattr(credentials, "_MAX_WAITING", 2)
    go_on = threading.Event()
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: go_on.wait(10))
    waiting = [asyncio.create_task(checker.check(given(password=b"x%d" % n), UNDER, "c")) for n in range(2)]
    await asyncio.sleep(0)
    try:
        while checker._waiting < 2:  # noqa: ASYNC110 - the tasks are on their way to the pool
            await asyncio.sleep(0)
        assert await checker.check(given(password=b"y"), UNDER, "c") == (CredentialOutcome.UNAVAILABLE, None)
    finally:
        go_on.set()
    assert [outcome for outcome, _ in await asyncio.gather(*waiting)] == [CredentialOutcome.ACCEPTED] * 2


async def test_a_broken_hash_is_no_wrong_password(checker: CredentialChecker) -> None:
    broken = snapshot({"accounts": [{**ALICE, "password_hash": "$argon2id$nonsense"}]})
    assert await checker.check(given(), broken, "c") == (CredentialOutcome.UNAVAILABLE, None)


async def test_failures_are_limited_by_client_and_by_login(
    checker: CredentialChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(failures.FAILURES_PER_CLIENT):
        outcome, _ = await checker.check(given(b"nobody%d" % number), UNDER, "client1")
        assert outcome is CredentialOutcome.REFUSED
    # The right password is not looked at any more, from this client.
    assert (await checker.check(given(), UNDER, "client1"))[0] is CredentialOutcome.TOO_MANY_FAILURES
    assert (await checker.check(given(), UNDER, "client2"))[0] is CredentialOutcome.ACCEPTED
    for number in range(failures.FAILURES_PER_LOGIN):
        await checker.check(given(password=b"wrong"), UNDER, f"other{number}")
    assert (await checker.check(given(), UNDER, "client3"))[0] is CredentialOutcome.TOO_MANY_FAILURES


async def test_failures_are_shared_in_redis_and_its_absence_locks_nobody_out(redis_server: Redis) -> None:
    first, second = (CredentialChecker(failure_limits(redis_server.url, 30)) for _ in range(2))
    try:
        for number in range(failures.FAILURES_PER_CLIENT):
            await (first, second)[number % 2].check(given(password=b"wrong"), UNDER, "client1")
        assert (await first.check(given(), UNDER, "client1"))[0] is CredentialOutcome.TOO_MANY_FAILURES
        assert (await second.check(given(), UNDER, "client1"))[0] is CredentialOutcome.TOO_MANY_FAILURES
        redis_server.kill()
        assert (await second.check(given(), UNDER, "client1"))[0] is CredentialOutcome.ACCEPTED
    finally:
        first.close()
        second.close()


async def test_too_many_failures_are_answered_454() -> None:
    async with serving(snapshot()) as policy:
        for _ in range(failures.FAILURES_PER_CLIENT):
            assert replied(await policy.decide(auth("alice", b"wrong"))) == "535 5.7.8"
        assert replied(await policy.decide(auth("alice"))) == "454 4.7.0"


async def test_a_login_is_known_without_case_and_by_every_address_of_the_account(checker: CredentialChecker) -> None:
    """F58."""
    under = snapshot(
        {
            "accounts": [ALICE, {"id": "a2", "login": "Bob@Local.test", "password_hash": CHEAP.hash(b"another")}],
            "aliases": [{"address": "info@local.test", "targets": ["alice@local.test"]}],
        }
    )
    for login in ("alice", "ALICE", "alice@local.test", "Alice@LOCAL.test"):
        outcome, account = await checker.check(given(login.encode()), under, "c")
        assert (outcome, account and account.id) == (CredentialOutcome.ACCEPTED, "a1"), login
        asked = Credentials("PLAIN", b"ALICE@local.test", login.encode(), PASSWORD)
        assert (await checker.check(asked, under, "c"))[0] is CredentialOutcome.ACCEPTED
        asked = Credentials("PLAIN", b"bob@local.test", login.encode(), PASSWORD)
        assert (await checker.check(asked, under, "c"))[0] is CredentialOutcome.REFUSED
    outcome, account = await checker.check(given(b"bob@local.TEST", b"another"), under, "c2")
    assert (outcome, account and account.id) == (CredentialOutcome.ACCEPTED, "a2")
    # An alias is nobody's login.
    assert (await checker.check(given(b"info@local.test"), under, "c2"))[0] is CredentialOutcome.REFUSED


async def test_failures_of_a_login_are_counted_together_however_it_is_written(checker: CredentialChecker) -> None:
    forms = (b"alice", b"ALICE", b"aLiCe", b"alice@local.test")
    for number in range(failures.FAILURES_PER_LOGIN):
        await checker.check(given(forms[number % 4], b"wrong"), UNDER, f"client{number}")
    assert (await checker.check(given(b"Alice"), UNDER, "another"))[0] is CredentialOutcome.TOO_MANY_FAILURES
