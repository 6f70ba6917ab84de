"""AUTH: which logins are accepted, what a check costs, which results are remembered, and how failures are limited."""

from __future__ import annotations

import asyncio
import threading
import time
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from argon2 import PasswordHasher

from services.policy import credentials, failures
from services.policy.credentials import CredentialChecker, Credentials
from services.policy.failures import FailureLimits
from services.policy.password_upgrades import PasswordUpgrades
from services.policy.rules.authentication import CredentialOutcome
from services.policy.rules.configuration import Account
from services.policy.state.memory import MemoryStore
from services.policy.state.redis import RedisStore
from services.policy.state.store import Store
from tests.peers.redis import Redis
from tests.policy.requests import auth, rcpt, replied
from tests.policy.serving import serving
from tests.policy.world import CHEAP, PASSWORD, snapshot

ALICE = {"id": "a1", "login": "alice", "password_hash": CHEAP.hash(PASSWORD), "addresses": ["Alice@local.test"]}
UNDER = snapshot({"accounts": [ALICE]})


@pytest.fixture
def checker() -> Iterator[CredentialChecker]:
    made = CredentialChecker(_limits(MemoryStore()))
    yield made
    made.close()


def _limits(store: Store, minute: int = 0) -> FailureLimits:
    """Makes limits with a clock that stands still, `minute` minutes after now. All failures of a test belong to one
    minute, however long the test takes.
    """
    now = time.time() + minute * 60
    return FailureLimits(store, lambda: now)


def given(login: bytes = b"alice", password: bytes = PASSWORD) -> Credentials:
    return Credentials("PLAIN", b"", login, password)


async def test_each_result_of_auth_has_its_reply() -> None:
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


async def test_auth_uses_the_accounts_of_the_newest_snapshot() -> None:
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
            # Only another setting changed.
            (8, [alice], ("accept", False)),
            # In revision 9 the password changed, and in revision 10 the account is removed.
            (9, [changed], ("554 5.7.1", True)),
            (10, [], ("554 5.7.1", True)),
        ):
            policy.engine.use(snapshot({"revision": revision, "accounts": accounts}))
            made = rcpt("x@elsewhere.test", "alice@local.test", account_login="alice", account_proof=proof)
            (verdict,) = await stream.ask(made)
            codes = replied(verdict)
            assert ("554 5.7.1" if codes == "553 5.7.1" else codes, verdict.login_lapsed) == wanted, revision


async def test_logins_and_passwords_are_the_same_however_they_are_composed(checker: CredentialChecker) -> None:
    """The API stores login and password in NFC, but keyboards send other forms (RFC 8265 sections 3.3.2 and 4.2.2)."""
    under = snapshot({"accounts": [{"id": "a2", "login": "jürgen", "password_hash": CHEAP.hash("schlüssel")}]})
    for form in ("NFC", "NFD"):
        login, password = (unicodedata.normalize(form, text).encode() for text in ("jürgen", "schlüssel"))
        for identity in (b"", login, "jürgen".encode()):
            asked = Credentials("PLAIN", identity, login, password)
            assert (await checker.check(asked, under, "c", "n"))[0] is CredentialOutcome.ACCEPTED, (form, identity)
        asked = Credentials("PLAIN", b"jurgen", login, password)
        assert (await checker.check(asked, under, "c", "n"))[0] is CredentialOutcome.REFUSED
    asked = Credentials("LOGIN", b"", b"j\xfcrgen", b"schl\xfcssel")
    assert (await checker.check(asked, under, "c", "n"))[0] is CredentialOutcome.REFUSED


async def test_only_a_successful_check_is_remembered(
    checker: CredentialChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    whole = PasswordHasher.verify

    def counting(self: PasswordHasher, hashed: str, password: bytes) -> bool:
        checked.append(password)
        return whole(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    for password in (PASSWORD, PASSWORD, b"wrong", b"wrong", PASSWORD):
        await checker.check(given(password=password), UNDER, "c", "n")
    assert checked == [PASSWORD, b"wrong", b"wrong"]
    # The remembered result survives a change of the configuration, but not a change of the account's password.
    await checker.check(given(), snapshot({"accounts": [{**ALICE, "addresses": []}]}), "c", "n")
    assert checked[3:] == []
    changed = snapshot({"accounts": [{**ALICE, "password_hash": CHEAP.hash(PASSWORD)}]})
    await checker.check(given(), changed, "c", "n")
    assert checked[3:] == [PASSWORD]


async def test_an_unknown_login_costs_what_a_wrong_password_costs(
    checker: CredentialChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost is measured by what is computed: one verification with the same parameters as for the accounts."""
    parameters = []
    whole = PasswordHasher.verify

    def noting(self: PasswordHasher, hashed: str, password: bytes) -> bool:
        parameters.append(hashed.rsplit("$", 2)[0])
        return whole(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", noting)
    # The first account has no password.
    under = snapshot({"accounts": [{"id": "a0", "login": "carol", "password_hash": ""}, ALICE]})
    for login in (b"alice", b"nobody", b"carol"):
        assert (await checker.check(given(login, b"wrong"), under, "c", "n"))[0] is CredentialOutcome.REFUSED
    assert len(parameters) == 3
    assert len(set(parameters)) == 1


async def test_a_full_queue_of_checks_does_not_count_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """C72: the reply is 454, and no failure of the client is counted."""
    monkeypatch.setattr(credentials, "_MAX_WAITING", 0)
    checker = CredentialChecker(_limits(MemoryStore()))
    with _held_up(monkeypatch) as hold:
        waiting = [asyncio.create_task(checker.check(given(password=b"x%d" % n), UNDER, "c", "n")) for n in range(2)]
        await hold.under_way(2)
        for network in ("n", "other"):
            outcome = await checker.check(given(password=b"y"), UNDER, "c", network)
            assert outcome == (CredentialOutcome.UNAVAILABLE, None)
    assert [outcome for outcome, _ in await asyncio.gather(*waiting)] == [CredentialOutcome.ACCEPTED] * 2
    checker.close()


class _Hold:
    """Makes each password verification wait until `go_on` is set. Then it accepts any password."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.passwords: list[bytes] = []

    def verify(self, _hasher: PasswordHasher, _hashed: str, password: bytes) -> bool:
        self.passwords.append(password)
        return self.go_on.wait(60)

    async def under_way(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.passwords) < count:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.001)


@contextmanager
def _held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Hold]:
    hold = _Hold()
    with monkeypatch.context() as patched:
        patched.setattr(PasswordHasher, "verify", lambda *of: hold.verify(*of))
        try:
            yield hold
        finally:
            hold.go_on.set()


async def test_a_client_network_has_two_slots_and_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_THREADS", 3)
    checker = CredentialChecker(_limits(MemoryStore()))
    with _held_up(monkeypatch) as hold:
        guesses = [asyncio.create_task(checker.check(given(b"x%d" % n), UNDER, f"c{n}", "n")) for n in range(10)]
        await hold.under_way(2)
        other = asyncio.create_task(checker.check(given(password=b"other"), UNDER, "d", "m"))
        await hold.under_way(3)
        assert hold.passwords.count(PASSWORD) == 2
        assert b"other" in hold.passwords
    await asyncio.gather(*guesses, other)
    checker.close()


async def test_guesses_do_not_lock_out_clients_that_logged_in_recently(
    checker: CredentialChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known client, and a known account, get threads that strangers cannot use up."""
    await checker.check(given(), UNDER, "office", "office network")
    with _held_up(monkeypatch) as hold:
        guesses = [
            asyncio.create_task(checker.check(given(b"nobody%d" % n, b"guess"), UNDER, f"c{n}", f"n{n}"))
            for n in range(200)
        ]
        await hold.under_way(2)
        # These passwords differ from the remembered one, whose verification would not be computed again.
        known_client = asyncio.create_task(checker.check(given(password=b"client"), UNDER, "office", "office network"))
        known_account = asyncio.create_task(checker.check(given(password=b"account"), UNDER, "new", "new network"))
        await hold.under_way(4)
        assert {b"client", b"account"} <= set(hold.passwords)
    outcomes = await asyncio.gather(known_client, known_account)
    assert [outcome for outcome, _ in outcomes] == [CredentialOutcome.ACCEPTED] * 2
    for guess in guesses:
        guess.cancel()
    await asyncio.gather(*guesses, return_exceptions=True)


async def test_failures_of_others_do_not_lock_out_a_client_that_logged_in_before(checker: CredentialChecker) -> None:
    await checker.check(given(), UNDER, "office", "n")
    for number in range(failures.FAILURES_PER_LOGIN):
        await checker.check(given(password=b"wrong"), UNDER, f"guesser{number}", f"n{number}")
    assert (await checker.check(given(), UNDER, "elsewhere", "m"))[0] is CredentialOutcome.TOO_MANY_FAILURES
    assert (await checker.check(given(), UNDER, "office", "n"))[0] is CredentialOutcome.ACCEPTED


async def test_a_damaged_hash_does_not_count_as_a_wrong_password(checker: CredentialChecker) -> None:
    broken = snapshot({"accounts": [{**ALICE, "password_hash": "$argon2id$nonsense"}]})
    assert await checker.check(given(), broken, "c", "n") == (CredentialOutcome.UNAVAILABLE, None)


async def test_failures_are_limited_by_client_and_by_login(
    checker: CredentialChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(failures.FAILURES_PER_CLIENT):
        outcome, _ = await checker.check(given(b"nobody%d" % number), UNDER, "client1", "n")
        assert outcome is CredentialOutcome.REFUSED
    # This client's right password is not checked any more.
    assert (await checker.check(given(), UNDER, "client1", "n"))[0] is CredentialOutcome.TOO_MANY_FAILURES
    assert (await checker.check(given(), UNDER, "client2", "n"))[0] is CredentialOutcome.ACCEPTED
    for number in range(failures.FAILURES_PER_LOGIN):
        await checker.check(given(password=b"wrong"), UNDER, f"other{number}", "n")
    assert (await checker.check(given(), UNDER, "client3", "n"))[0] is CredentialOutcome.TOO_MANY_FAILURES


async def test_failures_of_an_earlier_minute_do_not_count() -> None:
    store = MemoryStore()
    before, after = (CredentialChecker(_limits(store, minute)) for minute in (0, 1))
    try:
        for _ in range(failures.FAILURES_PER_CLIENT):
            await before.check(given(password=b"wrong"), UNDER, "client", "n")
        assert (await before.check(given(), UNDER, "client", "n"))[0] is CredentialOutcome.TOO_MANY_FAILURES
        assert (await after.check(given(), UNDER, "client", "n"))[0] is CredentialOutcome.ACCEPTED
    finally:
        before.close()
        after.close()


async def test_failures_are_shared_in_redis_and_nobody_is_locked_out_without_it(redis_server: Redis) -> None:
    stores = [RedisStore(redis_server.url, seconds=30) for _ in range(2)]
    first, second = (CredentialChecker(_limits(store)) for store in stores)
    for store in stores:
        await store.start()
    try:
        for number in range(failures.FAILURES_PER_CLIENT):
            await (first, second)[number % 2].check(given(password=b"wrong"), UNDER, "client1", "n")
        assert (await first.check(given(), UNDER, "client1", "n"))[0] is CredentialOutcome.TOO_MANY_FAILURES
        assert (await second.check(given(), UNDER, "client1", "n"))[0] is CredentialOutcome.TOO_MANY_FAILURES
        redis_server.kill()
        assert (await second.check(given(), UNDER, "client1", "n"))[0] is CredentialOutcome.ACCEPTED
    finally:
        first.close()
        second.close()
        for store in stores:
            await store.stop()


async def test_too_many_failures_get_454() -> None:
    async with serving(snapshot()) as policy:
        for _ in range(failures.FAILURES_PER_CLIENT):
            assert replied(await policy.decide(auth("alice", b"wrong"))) == "535 5.7.8"
        assert replied(await policy.decide(auth("alice"))) == "454 4.7.0"


async def test_a_login_is_compared_without_case_and_may_be_any_address_of_the_account(
    checker: CredentialChecker,
) -> None:
    """F58: logins are compared without case, and each address of an account is a login."""
    under = snapshot(
        {
            "accounts": [ALICE, {"id": "a2", "login": "Bob@Local.test", "password_hash": CHEAP.hash(b"another")}],
            "aliases": [{"address": "info@local.test", "targets": ["alice@local.test"]}],
        }
    )
    for login in ("alice", "ALICE", "alice@local.test", "Alice@LOCAL.test"):
        outcome, account = await checker.check(given(login.encode()), under, "c", "n")
        assert (outcome, account and account.id) == (CredentialOutcome.ACCEPTED, "a1"), login
        asked = Credentials("PLAIN", b"ALICE@local.test", login.encode(), PASSWORD)
        assert (await checker.check(asked, under, "c", "n"))[0] is CredentialOutcome.ACCEPTED
        asked = Credentials("PLAIN", b"bob@local.test", login.encode(), PASSWORD)
        assert (await checker.check(asked, under, "c", "n"))[0] is CredentialOutcome.REFUSED
    outcome, account = await checker.check(given(b"bob@local.TEST", b"another"), under, "c2", "n")
    assert (outcome, account and account.id) == (CredentialOutcome.ACCEPTED, "a2")
    # The address of an alias is not a login.
    assert (await checker.check(given(b"info@local.test"), under, "c2", "n"))[0] is CredentialOutcome.REFUSED


async def test_failures_of_a_login_are_counted_together_however_it_is_written(checker: CredentialChecker) -> None:
    forms = (b"alice", b"ALICE", b"aLiCe", b"alice@local.test")
    for number in range(failures.FAILURES_PER_LOGIN):
        await checker.check(given(forms[number % 4], b"wrong"), UNDER, f"client{number}", "n")
    assert (await checker.check(given(b"Alice"), UNDER, "another", "n"))[0] is CredentialOutcome.TOO_MANY_FAILURES


@pytest.mark.parametrize(
    ("password_hash", "password"),
    [
        # The vectors are those of https://www.akkadia.org/drepper/SHA-crypt.txt and of crypt_blowfish.
        (
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            b"Hello world!",
        ),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", b"U*U"),
    ],
)
async def test_a_hash_of_another_system_becomes_argon2id_at_login(password_hash: str, password: bytes) -> None:
    upgrades = PasswordUpgrades()
    checker = CredentialChecker(_limits(MemoryStore()), upgrades)
    moved = snapshot({"accounts": [{**ALICE, "password_hash": password_hash}]})
    wrong, _ = await checker.check(given(password=b"wrong"), moved, "192.0.2.1", "192.0.2.0/24")
    assert (wrong, len(upgrades)) == (CredentialOutcome.REFUSED, 0)
    unknown, _ = await checker.check(given(b"nobody", password), moved, "192.0.2.1", "192.0.2.0/24")
    assert unknown is CredentialOutcome.REFUSED
    right, _ = await checker.check(given(password=password), moved, "192.0.2.1", "192.0.2.0/24")
    assert right is CredentialOutcome.ACCEPTED
    (upgrade,) = upgrades.take()
    assert upgrade.account.id == "a1"
    assert PasswordHasher().verify(upgrade.new_hash, password)
    checker.close()


async def test_a_session_stays_logged_in_when_its_hash_becomes_argon2id() -> None:
    old = CHEAP.hash(PASSWORD)
    account = {**ALICE, "password_hash": old}
    async with serving(snapshot({"accounts": [account]})) as policy:
        proof = (await policy.decide(auth("alice"))).account_proof
        session = rcpt("x@elsewhere.test", "alice@local.test", account_login="alice", account_proof=proof)
        assert replied(await policy.decide(session)) == "accept"
        upgraded = {**account, "password_hash": CHEAP.hash(PASSWORD), "proof": b64encode(proof).decode()}
        policy.engine.use(snapshot({"accounts": [upgraded]}))
        assert replied(await policy.decide(session)) == "accept"
        # The remembered result does not hold for another password.
        policy.engine.use(snapshot({"accounts": [{**account, "password_hash": CHEAP.hash(b"another")}]}))
        assert replied(await policy.decide(session)) != "accept"


def test_new_hashes_that_wait_are_bounded() -> None:
    upgrades = PasswordUpgrades()
    for number in range(1_100):
        upgrades.add(Account(f"a{number}", f"user{number}", "$6$"), "$argon2id$")
    assert len(upgrades.take()) == 1_000
    assert len(upgrades) == 0
