"""`/local-domains`, `/accounts` and `/aliases`: which recipients exist, and where their mail goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway, message
from tests.peers.process import until
from tests.peers.smtp_sink import Offer, SmtpSink

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        ("alice@ours.test", "accepted"),
        ("ALICE@OURS.TEST", "accepted"),
        ('"alice"@ours.test', "accepted"),
        ("info@ours.test", "accepted"),
        ("Info@ours.test", "accepted"),
        ("nobody@ours.test", "RCPT 550 5.1.1"),
        ("alice@sub.ours.test", "RCPT 554 5.7.1"),
        ("alice@ours.test.evil.test", "RCPT 554 5.7.1"),
        ("alice%ours.test@elsewhere.test", "RCPT 554 5.7.1"),
        ("bob%far.test@ours.test", "RCPT 550 5.1.1"),
        ("@ours.test:bob@far.test", "RCPT 554 5.7.1"),
        ("@far.test:alice@ours.test", "accepted"),
        ("alice", "RCPT 501 5.1.3"),
        ("", "RCPT 501 5.1.3"),
        ("alice@@ours.test", "RCPT 501 5.1.3"),
        ("alice@ours.test@", "RCPT 501 5.1.3"),
        ('"alice@ours.test"', "RCPT 501 5.1.3"),
    ],
)
def test_the_recipients_of_a_local_domain_are_its_accounts_and_aliases(
    gateway: Gateway, recipient: str, expected: str
) -> None:
    assert gateway.attempt(recipient) == expected


def test_added_and_removed_accounts_and_aliases_are_in_force_at_once(gateway: Gateway) -> None:
    assert gateway.attempt("dora@ours.test") == "RCPT 550 5.1.1"
    account = gateway.create(
        "accounts", login="dora", password=world.PASSWORD, addresses=["dora@ours.test", "d@ours.test"]
    )
    assert gateway.attempt("d@ours.test") == "accepted"
    gateway.change("accounts", account["id"], {"addresses": ["dora@ours.test"]})
    assert gateway.attempt("d@ours.test") == "RCPT 550 5.1.1"
    alias = gateway.create("aliases", address="d@ours.test", targets=["dora@ours.test"])
    assert gateway.attempt("d@ours.test") == "accepted"
    gateway.remove("aliases", alias["id"])
    gateway.remove("accounts", account["id"])
    assert gateway.attempt("d@ours.test") == "RCPT 550 5.1.1"
    assert gateway.attempt("dora@ours.test") == "RCPT 550 5.1.1"


@pytest.mark.parametrize("written", ["j\u00fcrgen", "J\u00dcRGEN", "ju\u0308rgen"])
def test_an_alias_beyond_ascii_gives_ascii_mail_to_a_server_without_smtputf8(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """C59: the case and Unicode form of the alias do not matter, and no field that we add needs SMTPUTF8."""
    monkeypatch.setattr(gateway.far, "offer", Offer(smtputf8=False))
    gateway.create("aliases", address="j\u00fcrgen@ours.test", targets=[FAR])
    with gateway.connect() as client:
        assert client.mail("bill@far.test", "SMTPUTF8") == "250"
        assert client.rcpt(f"{written}@ours.test") == "250"
        assert client.data(message(f"for {written.encode().hex()}")) == "250"
    assert gateway.delivered(f"for {written.encode().hex()}", gateway.far).accepted_recipients == [FAR.encode()]


def test_held_mail_for_the_postmaster_is_delivered_when_external_postmasters_are_configured(gateway: Gateway) -> None:
    """Case C138 of docs/cases.md describes this behaviour."""
    sender = "early@far.test"
    assert gateway.attempt("postmaster@ours.test", sender=sender, content=message("too early")) == "accepted"
    until(lambda: "held" in gateway.states(sender).values(), "held")
    gateway.patch("general", {"external_postmasters": [FAR]})
    assert gateway.delivered("too early", gateway.far).accepted_recipients == [FAR.encode()]
    until(
        lambda: gateway.states(sender) == {"postmaster@ours.test": "expanded", FAR: "delivered"},
        "the message is sent to the external postmaster",
    )


def test_mail_for_an_alias_goes_to_each_of_its_targets_once(gateway: Gateway) -> None:
    gateway.create("aliases", address="all@ours.test", targets=[world.ALICE, "carol@ours.test", FAR, "info@ours.test"])
    assert gateway.attempt("all@ours.test", sender="fan@far.test", content=message("fan out")) == "accepted"
    gateway.delivered("fan out")
    gateway.delivered("fan out", gateway.far)
    until(
        lambda: (
            sorted(address for one in gateway.mailbox.messages for address in one.accepted_recipients)
            == [b"alice@ours.test", b"carol@ours.test"]
        ),
        "alice and carol have one copy each",
    )


def test_aliases_that_lead_to_each_other_cause_no_endless_loop(gateway: Gateway) -> None:
    gateway.create("aliases", address="ping@ours.test", targets=["pong@ours.test", world.ALICE])
    gateway.status("POST", "aliases", {"address": "pong@ours.test", "targets": ["ping@ours.test"]})
    gateway.settle("aliases")
    gateway.attempt("ping@ours.test", sender="loop@far.test", content=message("ping pong"))
    gateway.delivered("ping pong")
    assert gateway.attempt(sender="behind@far.test", content=message("behind the loop")) == "accepted"
    gateway.delivered("behind the loop")
    assert len([one for one in gateway.mailbox.messages if b"ping pong" in one.content]) == 1


def test_the_local_part_keeps_its_case_and_the_domain_does_not(gateway: Gateway) -> None:
    gateway.create("relay-domains", name="partner", domain="partner.test")
    gateway.dns.replace("partner.test", "MX", "10 mx.far.test.")
    assert gateway.attempt("Eve.Q@PARTNER.test", content=message("case")) == "accepted"
    assert gateway.delivered("case", gateway.far).accepted_recipients == [b"Eve.Q@partner.test"]
    gateway.dns.remove("partner.test")


def test_a_recipient_that_is_named_three_times_gets_one_copy(gateway: Gateway) -> None:
    recipients = (world.ALICE, "alice@OURS.test", "Alice@ours.test")
    with gateway.connect() as client:
        assert client.transaction(FAR, *recipients, content=message("one copy")) == "accepted"
    taken = gateway.delivered("one copy")
    assert len(taken.accepted_recipients) == 1
    until(lambda: not world.queued(gateway.suite), "the queue is empty, so no second copy is on its way")
    assert len([one for one in gateway.mailbox.messages if b"one copy" in one.content]) == 1


def test_mail_for_a_local_domain_can_be_stored_in_maildirs(gateway: Gateway) -> None:
    path = gateway.suite.folder / "mail"
    gateway.create("local-domains", name="files.test", mailbox={"kind": "maildir", "path": str(path)})
    gateway.create("accounts", login="fay", password=world.PASSWORD, addresses=["fay@files.test"])
    assert gateway.attempt("FAY@files.test", content=message("to a maildir", body=".\r\n..a\r\n")) == "accepted"

    def found() -> list[Path]:
        return [one for one in path.glob("*/new/*") if b"to a maildir" in one.read_bytes()]

    until(lambda: bool(found()), "there is one message in the maildir")
    (kept,) = found()
    assert kept.read_bytes().replace(b"\r\n", b"\n").endswith(b"\n\n.\n..a\n")


def test_mail_for_a_local_domain_can_be_delivered_to_an_lmtp_server(gateway: Gateway) -> None:
    with SmtpSink(Offer(lmtp=True)) as lmtp:
        mailbox = {"kind": "lmtp", "host": lmtp.host, "port": lmtp.port}
        gateway.create("local-domains", name="lmtp.test", mailbox=mailbox)
        gateway.create("accounts", login="lou", password=world.PASSWORD, addresses=["lou@lmtp.test", "l@lmtp.test"])
        with gateway.connect() as client:
            content = message("over lmtp")
            assert client.transaction(FAR, "lou@lmtp.test", "l@lmtp.test", content=content) == "accepted"
        taken = gateway.delivered("over lmtp", lmtp)
        assert sorted(taken.accepted_recipients) == [b"l@lmtp.test", b"lou@lmtp.test"]
        assert taken.session.greeting_word.upper() == "LHLO"
