"""AUTH PLAIN and LOGIN (RFC 4954, 4616): when, how and how often they may be used; no password leaks (C64 to C72)."""

from __future__ import annotations

import base64

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.session import Credentials, Listener
from tests.fakes.policy import accept, reject
from tests.ingress.client import Client
from tests.ingress.conftest import Ingress


def b64(*parts: str) -> str:
    return base64.b64encode("\0".join(parts).encode()).decode()


@pytest.fixture
async def client(ingress: Ingress) -> Client:
    """Returns a client on the submissions port that has sent EHLO over TLS."""
    return await ingress.client(Listener.SUBMISSIONS)


async def test_plain_with_an_initial_response_is_accepted(ingress: Ingress, client: Client) -> None:
    reply = await client.command(f"AUTH PLAIN {b64('', 'alice', 'secret')}")
    assert (reply.code, reply.enhanced) == (235, "2.7.0")
    credentials = ingress.policy.asked(pb.STAGE_AUTH)[0].credentials
    assert (credentials.mechanism, credentials.login, credentials.password) == ("PLAIN", b"alice", b"secret")


async def test_plain_by_challenge_with_an_identity_is_accepted(ingress: Ingress, client: Client) -> None:
    challenge = await client.command("auth plain")
    assert (challenge.code, challenge.lines) == (334, ("",))
    assert (await client.command(b64("alice", "alice", "secret"))).code == 235
    assert ingress.policy.asked(pb.STAGE_AUTH)[0].credentials.authorization_identity == b"alice"


@pytest.mark.parametrize("initial", [False, True])
async def test_c67_login_sends_the_usual_challenges(ingress: Ingress, client: Client, initial: bool) -> None:
    """Case P8 of docs/cases.md describes this behaviour."""
    if initial:
        reply = await client.command(f"AUTH LOGIN {b64('alice')}")
    else:
        assert (await client.command("AUTH LOGIN")).lines == ("VXNlcm5hbWU6",)
        reply = await client.command(b64("alice"))
    assert (reply.code, reply.lines) == (334, ("UGFzc3dvcmQ6",))
    assert (await client.command(b64("secret"))).code == 235
    credentials = ingress.policy.asked(pb.STAGE_AUTH)[0].credentials
    assert (credentials.mechanism, credentials.login, credentials.password) == ("LOGIN", b"alice", b"secret")


async def test_wrong_credentials_are_535_and_the_session_goes_on(ingress: Ingress, client: Client) -> None:
    reply = await client.login(password="wrong")
    assert (reply.code, reply.enhanced) == (535, "5.7.8")
    assert (await client.login()).code == 235


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("AUTH", 501),
        ("AUTH PLAIN a b", 501),
        ("AUTH CRAM-MD5", 504),
        ("AUTH PLAIN !!!!", 501),
        ("AUTH PLAIN =", 501),
        (f"AUTH PLAIN {b64('alice', 'secret')}", 501),
        (f"AUTH PLAIN {b64('', 'alice', 'secret', 'more')}", 501),
        (f"AUTH PLAIN {b64('', '', 'secret')}", 501),
        ("AUTH PLAIN YQ", 501),
    ],
)
async def test_malformed_auth_is_refused_without_asking_policy(
    ingress: Ingress, client: Client, line: str, code: int
) -> None:
    assert (await client.command(line)).code == code
    assert not ingress.policy.asked(pb.STAGE_AUTH)


async def test_an_asterisk_cancels_the_exchange(ingress: Ingress, client: Client) -> None:
    assert (await client.command("AUTH LOGIN")).code == 334
    reply = await client.command("*")
    assert (reply.code, reply.enhanced) == (501, "5.7.0")
    assert (await client.command("NOOP")).code == 250


async def test_an_invalid_base64_response_ends_the_exchange(ingress: Ingress, client: Client) -> None:
    assert (await client.command("AUTH LOGIN")).code == 334
    assert (await client.command("QUIT!")).code == 501
    assert (await client.command("NOOP")).code == 250


@pytest.mark.parametrize("octets", [12_289, 20_000])
@pytest.mark.parametrize("ended", [True, False], ids=["whole", "without an end"])
@pytest.mark.parametrize("command", ["", "AUTH PLAIN", "AUTH LOGIN"], ids=["initial", "plain", "login"])
async def test_f44_a_response_that_is_too_long_has_one_reply(
    ingress: Ingress, client: Client, command: str, ended: bool, octets: int
) -> None:
    if command:
        assert (await client.command(command)).code == 334
    start = b"" if command else b"AUTH PLAIN "
    client.send(start + b"A" * (octets - len(start)) + (b"\r\n" if ended else b""))
    reply = await client.reply()
    assert (reply.code, reply.enhanced) == (500, "5.5.6")
    assert await client.until_closed() == b""
    assert not ingress.policy.asked(pb.STAGE_AUTH)


async def test_f44_the_longest_response_is_read(client: Client) -> None:
    assert (await client.command("AUTH PLAIN")).code == 334
    # This is the base64 form of NULs only, which separate far more than three fields, so the reply is 501.
    assert (await client.command(b"A" * 12_288)).code == 501
    assert (await client.login()).code == 235


@pytest.mark.parametrize(
    "between", [(), ("RSET",), ("EHLO again.example",)], ids=["at once", "after RSET", "after EHLO"]
)
async def test_c64_a_second_login_is_out_of_order(ingress: Ingress, client: Client, between: tuple[str, ...]) -> None:
    assert (await client.login()).code == 235
    for command in between:
        assert (await client.command(command)).code == 250
    reply = await client.login("bob", "other")
    assert (reply.code, reply.enhanced) == (503, "5.5.1")
    assert len(ingress.policy.asked(pb.STAGE_AUTH)) == 1


async def test_c65_a_login_within_a_transaction_is_refused(ingress: Ingress, client: Client) -> None:
    """Case P7 of docs/cases.md describes this behaviour."""
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    assert (await client.login()).code == 503
    assert (await client.command("RSET")).code == 250
    assert (await client.login()).code == 235


async def test_c69_a_login_applies_only_to_its_session(ingress: Ingress, client: Client) -> None:
    assert (await client.login()).code == 235
    other = await ingress.client(Listener.SUBMISSIONS)
    await other.envelope()
    await client.envelope()
    logins = {request.session.id: request.session.account_login for request in ingress.policy.asked(pb.STAGE_RCPT)}
    assert sorted(logins.values()) == ["", "alice"]


async def test_c71_before_tls_auth_is_refused_without_checking_the_password(ingress: Ingress) -> None:
    client = await ingress.client()
    reply = await client.login()
    assert (reply.code, reply.enhanced) == (538, "5.7.11")
    await client.command("STARTTLS")
    await client.start_tls()
    # After STARTTLS a new EHLO must come first.
    assert (await client.login()).code == 503
    assert not ingress.policy.asked(pb.STAGE_AUTH)
    assert (await client.command("EHLO client.example")).code == 250
    assert (await client.login()).code == 235


async def test_c71_auth_is_refused_when_it_is_not_offered(ingress: Ingress) -> None:
    del ingress.policy.profile.auth_mechanisms_tls[:]
    client = await ingress.client(Listener.SUBMISSIONS)
    assert (await client.login()).code == 502
    assert not ingress.policy.asked(pb.STAGE_AUTH)


async def test_auth_before_tls_is_accepted_if_the_profile_allows_it(ingress: Ingress) -> None:
    ingress.policy.profile.auth_mechanisms_plaintext[:] = ["PLAIN"]
    client = await ingress.client()
    assert (await client.login()).code == 235


@pytest.mark.parametrize(
    "verdict",
    [pb.Verdict(), reject(451, "4.3.0"), accept(), accept(account="")],
    ids=["nonsense", "temporary", "no account", "empty account"],
)
async def test_c72_an_unusable_answer_of_policy_gives_454_and_counts_no_failure(
    ingress: Ingress, verdict: pb.Verdict
) -> None:
    ingress.policy.on(pb.STAGE_AUTH, verdict)
    client = await ingress.client(Listener.SUBMISSIONS)
    for _ in range(8):
        reply = await client.login()
        assert (reply.code, reply.enhanced) == (454, "4.7.0")
    await client.envelope()
    assert ingress.policy.asked(pb.STAGE_RCPT)[0].session.account_login == ""


async def test_too_many_failures_end_the_session(ingress: Ingress, client: Client) -> None:
    for _ in range(5):
        assert (await client.login(password="wrong")).code == 535
    assert (await client.reply()).code == 421
    assert await client.until_closed() == b""


async def test_the_profile_from_the_login_is_used(ingress: Ingress, client: Client) -> None:
    def with_profile(request: pb.DecideRequest) -> pb.Verdict:
        verdict = accept(account="alice")
        verdict.profile.CopyFrom(ingress.policy.profile)
        verdict.profile.revision = 2
        verdict.profile.ask_stages.append(pb.STAGE_MAIL)
        return verdict

    ingress.policy.on(pb.STAGE_AUTH, with_profile)
    assert (await client.login()).code == 235
    await client.envelope()
    (mail,) = ingress.policy.asked(pb.STAGE_MAIL)
    assert (mail.session.account_login, mail.session.profile_revision) == ("alice", 2)


def _with_login(ingress: Ingress) -> None:
    """Scripts a policy that, like the real one, gives a logged-in session another profile than a stranger's."""
    ingress.policy.profile.auth_mechanisms_plaintext[:] = ["PLAIN"]
    ingress.policy.profile.ask_stages.append(pb.STAGE_MAIL)

    def login(_request: pb.DecideRequest) -> pb.Verdict:
        verdict = accept(account="alice", account_proof=b"proof")
        verdict.profile.CopyFrom(ingress.policy.profile)
        verdict.profile.may_relay = True
        del verdict.profile.ask_stages[:]
        return verdict

    def judge(request: pb.DecideRequest) -> pb.Verdict:
        return accept() if request.session.account_login else reject(530, "5.7.0", reason_id="login_required")

    ingress.policy.on(pb.STAGE_AUTH, login)
    ingress.policy.on(pb.STAGE_MAIL, judge)


async def test_f61_the_rights_of_a_login_end_with_starttls(ingress: Ingress) -> None:
    _with_login(ingress)
    client = await ingress.client(Listener.SUBMISSION)
    assert (await client.login()).code == 235
    await client.send_mail()
    assert ingress.relay.messages[0].submission.origin.may_relay
    await client.command("STARTTLS")
    await client.start_tls()
    assert (await client.command("EHLO client.example")).code == 250
    assert (await client.command("MAIL FROM:<carol@example.org>")).code == 530
    session = ingress.policy.asked(pb.STAGE_MAIL)[-1].session
    assert (session.account_login, session.account_proof) == ("", b"")
    # The next login gives the session its account and its rights again.
    assert (await client.login()).code == 235
    await client.send_mail()
    assert len(ingress.relay.messages) == 2


async def test_f61_mail_after_the_end_of_a_login_counts_as_without_a_login(ingress: Ingress) -> None:
    _with_login(ingress)
    ingress.policy.on(pb.STAGE_MAIL, accept())
    client = await ingress.client()
    assert (await client.login()).code == 235
    await client.command("STARTTLS")
    await client.start_tls()
    assert (await client.command("EHLO client.example")).code == 250
    assert (await client.send_mail()).code == 250
    (message,) = ingress.relay.messages
    assert (message.submission.origin.account_login, message.submission.origin.may_relay) == ("", False)
    assert b"with ESMTPS id" in message.content


async def test_the_proof_of_a_login_is_sent_with_later_requests(ingress: Ingress, client: Client) -> None:
    _with_login(ingress)
    assert (await client.login()).code == 235
    await client.envelope()
    assert ingress.policy.asked(pb.STAGE_RCPT)[0].session.account_proof == b"proof"


@pytest.mark.parametrize("stage", [pb.STAGE_RCPT, pb.STAGE_END_OF_DATA], ids=["at RCPT", "at the end of data"])
async def test_f61_a_session_whose_account_changed_is_ended(ingress: Ingress, client: Client, stage: int) -> None:
    ingress.policy.profile.ask_stages.append(pb.STAGE_END_OF_DATA)
    assert (await client.login()).code == 235
    assert (await client.command("MAIL FROM:<alice@example.com>")).code == 250
    lapsed = accept(login_lapsed=True)
    ingress.policy.on(stage, lapsed)
    if stage == pb.STAGE_RCPT:
        reply = await client.command("RCPT TO:<bob@example.net>")
    else:
        assert (await client.command("RCPT TO:<bob@example.net>")).code == 250
        reply = await client.data(b"Subject: x\r\n\r\n")
    assert (reply.code, reply.enhanced) == (421, "4.7.0")
    assert await client.until_closed() == b""
    assert not ingress.relay.messages


async def test_a_profile_without_a_login_is_not_used_after_auth(ingress: Ingress) -> None:
    """When an answer to AUTH names no account, the session does not use the profile in this answer."""

    def nobody(_request: pb.DecideRequest) -> pb.Verdict:
        verdict = accept()
        verdict.profile.CopyFrom(ingress.policy.profile)
        verdict.profile.may_relay = True
        return verdict

    ingress.policy.on(pb.STAGE_AUTH, nobody)
    client = await ingress.client(Listener.SUBMISSIONS)
    assert (await client.login()).code == 454
    assert (await client.send_mail()).code == 250
    assert not ingress.relay.messages[0].submission.origin.may_relay


def test_c70_credentials_are_not_in_the_repr_of_objects() -> None:
    credentials = Credentials("PLAIN", b"identity", b"login", b"password")
    assert repr(credentials) == "Credentials(mechanism='PLAIN')"


async def test_c37_control_characters_in_a_login_reach_no_reply(ingress: Ingress, client: Client) -> None:
    reply = await client.login("a\r\n250 ok", "x")
    assert (reply.code, len(reply.lines)) == (535, 1)
    assert (await client.command("NOOP")).code == 250
