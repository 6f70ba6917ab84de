"""`content-checks.spam` and `quarantine`, tested with Debian's rspamd."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway, message
from tests.peers.process import until
from tests.peers.rspamd import Rspamd, gtube

pytestmark = pytest.mark.e2e

_markers = (f"spam{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def _rspamd() -> Iterator[Rspamd]:
    with Rspamd() as daemon:
        yield daemon


@pytest.fixture
def rspamd(_rspamd: Rspamd) -> Rspamd:
    _rspamd.ensure_running()
    return _rspamd


def _ask(gateway: Gateway, rspamd: Rspamd, mode: str = "enforce", **options: Any) -> None:
    gateway.content_checks(spam={"mode": mode, "rspamd": rspamd.url, **options})


def _spam(action: str = "reject", header: str = "") -> tuple[str, str, bytes]:
    """Returns a marker, a new sender, and a message for which rspamd recommends the action."""
    marker = next(_markers)
    sender = f"{marker}@far.test"
    return marker, sender, message(marker, sender=sender, header=header, body=gtube(action).decode())


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
def test_gtube_is_refused_only_in_the_mode_enforce(gateway: Gateway, rspamd: Rspamd, mode: str) -> None:
    _ask(gateway, rspamd, mode)
    marker, sender, content = _spam()
    refused = gateway.metric("policy", "posthouse_policy_decisions_total", reason="spam")
    shadow = gateway.metric("policy", "posthouse_policy_shadow_total", reason="spam")
    checked = gateway.metric("ingress", "posthouse_ingress_checks_total", check="spam", outcome="reject")
    got = gateway.attempt(sender=sender, content=content)
    assert got == ("DATA 554 5.7.1" if mode == "enforce" else "accepted")
    assert gateway.metric("policy", "posthouse_policy_decisions_total", reason="spam") - refused == (mode == "enforce")
    assert gateway.metric("policy", "posthouse_policy_shadow_total", reason="spam") - shadow == (mode == "shadow")
    after = gateway.metric("ingress", "posthouse_ingress_checks_total", check="spam", outcome="reject")
    assert after - checked == (mode != "off")
    if mode == "shadow":
        # In shadow mode no header field is added.
        header = gateway.delivered(marker).header.lower()
        assert b"x-spam" not in header
        assert b"x-posthouse-quarantine" not in header
    gateway.attempt(sender=FAR, content=message(next(_markers)))


def test_headers_timeline_and_explain_show_the_result_of_rspamd(gateway: Gateway, rspamd: Rspamd) -> None:
    _ask(gateway, rspamd)
    marker, sender, content = _spam("add header", header="X-Spam: No\r\nx-spam-score: -99\r\nX-Spam-Level: kept\r\n")
    assert gateway.attempt(sender=sender, content=content) == "accepted"
    fields = gateway.delivered(marker).header.decode().split("\r\n")
    spam = [line for line in fields if line.lower().startswith(("x-spam", "x-posthouse"))]
    assert spam[0] == "X-Posthouse-Quarantine: spam"
    assert spam[1] == "X-Spam: Yes"
    assert spam[2].startswith("X-Spam-Score: ")
    assert spam[3:] == ["X-Spam-Level: kept"]
    finished = gateway.finished(sender)
    assert finished["quarantine"] is True
    shown = gateway.read(f"queue/messages/{finished['queue_id']}")
    (checked,) = [event for event in shown["timeline"] if event["event"] == "checked"]
    assert checked["detail"].startswith("rspamd: add header, score ")
    explained = gateway.post("explain/session", {"kind": "past", "session_id": _session(gateway, sender)})
    (rule,) = [rule for rule in explained["rules"] if rule["reason_id"] == "spam"]
    assert rule["outcome"] == "pass" or rule["explanation"].startswith("rspamd says add header")
    assert "rspamd says add header" in rule["explanation"]


def test_a_refused_message_has_the_result_of_rspamd_in_its_timeline(gateway: Gateway, rspamd: Rspamd) -> None:
    _ask(gateway, rspamd)
    _, sender, content = _spam()
    assert gateway.attempt(sender=sender, content=content) == "DATA 554 5.7.1"
    refused = gateway.finished(sender)
    assert (refused["reason_id"], refused["stage"]) == ("spam", "end_of_data")
    shown = gateway.read(f"queue/messages/{refused['queue_id']}")
    assert any((event["detail"] or "").startswith("rspamd: reject") for event in shown["timeline"])


def test_explain_can_assume_an_action_of_rspamd(gateway: Gateway, rspamd: Rspamd) -> None:
    _ask(gateway, rspamd)
    facts = {"client_address": "93.184.3.3", "sender": FAR, "recipients": [world.ALICE]}
    for action, reply in (("reject", 554), ("greylist", 451), ("soft_reject", 451), ("no_action", None)):
        spam = {"action": action, "score": 3.5}
        explained = gateway.explain(**facts, stage="end_of_data", content={"spam": spam})
        assert (explained["reply"] or {"code": None})["code"] == reply, action
        (rule,) = [rule for rule in explained["rules"] if rule["reason_id"] == "spam"]
        assert "3.50" in rule["explanation"]


def test_mail_that_is_not_spam_is_unchanged_except_for_forged_marks(gateway: Gateway, rspamd: Rspamd) -> None:
    _ask(gateway, rspamd)
    marker = next(_markers)
    content = message(marker, header="X-Spam: Yes\r\nX-Spam-Score: 99\r\n")
    assert gateway.attempt(content=content) == "accepted"
    assert b"x-spam" not in gateway.delivered(marker).header.lower()


def test_exempt_mail_is_not_sent_to_rspamd(gateway: Gateway, rspamd: Rspamd) -> None:
    _ask(gateway, rspamd)
    _, sender, content = _spam()
    assert gateway.attempt("postmaster@ours.test", sender=sender, content=content) == "accepted"
    rule = gateway.access("allow", "domain", "far.test")
    assert gateway.attempt(sender=sender, content=content) == "accepted"
    gateway.remove("access-rules", rule["id"])
    assert gateway.attempt(sender=sender, content=content) == "DATA 554 5.7.1"
    own = message(next(_markers), sender=world.ALICE, body=gtube().decode())
    with gateway.submission() as client:
        assert client.transaction(world.ALICE, FAR, content=own) == "accepted"
    gateway.content_checks(spam={"check_outgoing": True})
    with gateway.submission() as client:
        assert client.transaction(world.ALICE, FAR, content=own) == "DATA 554 5.7.1"


@pytest.mark.parametrize("on_error", ["accept", "tempfail"])
def test_mail_follows_on_error_while_rspamd_is_down(gateway: Gateway, rspamd: Rspamd, on_error: str) -> None:
    _ask(gateway, rspamd, on_error=on_error, timeout_s=5)
    rspamd.kill()
    marker, sender, content = _spam("add header", header="X-Spam: No\r\n")
    for _ in range(3):
        got = gateway.attempt(sender=sender, content=content)
        assert got == ("accepted" if on_error == "accept" else "DATA 451 4.3.0")
    failed = gateway.metric("ingress", "posthouse_ingress_checks_total", check="spam", outcome="error")
    assert failed >= 3
    if on_error == "accept":
        # No message is lost, and the forged X-Spam field is removed.
        until(
            lambda: len([one for one in gateway.mailbox.messages if marker.encode() in one.content]) == 3,
            "all three arrive",
        )
        assert b"x-spam" not in gateway.delivered(marker).header.lower()
    rspamd.restart()
    assert gateway.attempt(sender=sender, content=_spam()[2]) == "DATA 554 5.7.1"
    assert gateway.attempt(sender=sender, content=message(next(_markers))) == "accepted"


def test_a_frozen_rspamd_delays_mail_and_loses_none(gateway: Gateway, rspamd: Rspamd) -> None:
    _ask(gateway, rspamd, timeout_s=1)
    rspamd.freeze()
    try:
        marker = next(_markers)
        assert gateway.attempt(content=message(marker)) == "accepted"
        gateway.delivered(marker)
    finally:
        rspamd.thaw()
    assert gateway.attempt(content=_spam()[2]) == "DATA 554 5.7.1"


# Quarantine


def test_quarantined_mail_is_marked_or_goes_to_a_mailbox_or_is_held(gateway: Gateway, rspamd: Rspamd) -> None:
    (domain,) = gateway.read("local-domains")["items"]
    far = {"kind": "smtp", "host": gateway.far.host, "port": gateway.far.port}
    gateway.change("local-domains", domain["id"], {"quarantine_mailbox": far})
    _ask(gateway, rspamd)
    marker, sender, content = _spam("add header")
    assert gateway.attempt(sender=sender, content=content) == "accepted"
    gateway.delivered(marker)
    gateway.content_checks(quarantine="mailbox")
    marker, sender, content = _spam("rewrite subject")
    assert gateway.attempt(sender=sender, content=content) == "accepted"
    gateway.delivered(marker, gateway.far)
    gateway.content_checks(quarantine="hold")
    marker, sender, content = _spam("add header")
    assert gateway.attempt(sender=sender, content=content) == "accepted"
    until(lambda: gateway.states(sender) == {world.ALICE: "held"}, "the message is held")
    (held,) = [one for one in world.queued(gateway.suite) if one["sender"] == sender]
    assert held["deliveries"][0]["destination"] == "quarantine"
    assert gateway.status("POST", f"queue/messages/{held['queue_id']}:release") == 200
    gateway.delivered(marker)
    marker, sender, content = _spam("add header")
    assert gateway.attempt(sender=sender, content=content) == "accepted"
    until(lambda: gateway.states(sender) == {world.ALICE: "held"}, "the message is held")
    (held,) = [one for one in world.queued(gateway.suite) if one["sender"] == sender]
    assert gateway.status("POST", f"queue/messages/{held['queue_id']}:bounce") == 200
    assert gateway.finished(sender)["state"] == "bounced"
    assert not [one for one in world.queued(gateway.suite) if one["sender"] == ""]
    assert not [one for one in gateway.far.messages if sender.encode() in b" ".join(one.accepted_recipients)]


def _session(gateway: Gateway, sender: str) -> str:
    origin: dict[str, str] = gateway.read(f"queue/messages/{gateway.finished(sender)['queue_id']}")["origin"]
    return origin["session_id"]
