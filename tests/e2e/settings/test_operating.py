"""The queue, the history, explanations, revisions and keys, for mail that was received over SMTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway, message
from tests.peers.process import until
from tests.peers.smtp_sink import Offer, SmtpSink, Stage, reply

pytestmark = pytest.mark.e2e

LATER = reply("451 4.3.0 Come back later")


def _queue(gateway: Gateway, marker: str, *recipients: str) -> dict[str, Any]:
    """Sends a message from alice whose first attempt is deferred.

    Returns the message when it waits in the queue after this attempt.
    """
    known = {one["queue_id"] for one in world.queued(gateway.suite)}
    gateway.far.on(Stage.RCPT, LATER)
    with gateway.submission() as client:
        content = message(marker, sender=world.ALICE)
        assert client.transaction(world.ALICE, *(recipients or (FAR,)), content=content) == "accepted"
    found: list[dict[str, Any]] = []

    def rests() -> bool:
        found[:] = [
            one
            for one in world.queued(gateway.suite)
            if one["queue_id"] not in known and all(delivery["state"] == "deferred" for delivery in one["deliveries"])
        ]
        return bool(found)

    until(rests, f"{marker} waits in the queue after one attempt")
    return found[0]


def _state(gateway: Gateway, queue_id: str) -> str:
    return str(gateway.read(f"queue/messages/{queue_id}")["state"])


def _act(gateway: Gateway, queue_id: str, action: str) -> None:
    gateway.post(f"queue/messages/{queue_id}:{action}")


# The queue


def test_a_message_in_the_queue_shows_its_attempts_and_timeline(gateway: Gateway) -> None:
    one = _queue(gateway, "tells")
    shown = gateway.read(f"queue/messages/{one['queue_id']}")
    (delivery,) = shown["deliveries"]
    last = delivery["last_attempt"]
    assert (last["code"], last["enhanced_code"], last["host"].rstrip(".")) == (451, "4.3.0", "mx.far.test")
    assert last["address"] == gateway.far.host
    assert (shown["origin"]["account_login"], shown["origin"]["tls"]) == ("alice", True)
    assert shown["timeline"]
    assert "Hello." not in json.dumps(shown)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"sender": world.ALICE}, True),
        ({"sender": "carol@ours.test"}, False),
        ({"recipient": FAR}, True),
        ({"recipient": "rob@far.test"}, False),
        ({"sender_domain": "ours.test"}, True),
        ({"sender_domain": "rs.test"}, False),
        ({"recipient_domain": "far.test"}, True),
        ({"recipient_domain": "ar.test"}, False),
        ({"state": "deferred"}, True),
        ({"state": "held"}, False),
        ({"account_login": "alice"}, True),
        ({"account_login": "carol"}, False),
        ({"last_reply_contains": "come BACK"}, True),
        ({"last_reply_contains": "come%later"}, False),
        ({"attempts_at_least": 1}, True),
        ({"attempts_at_least": 2}, False),
        ({"received_after": "2030-01-01T00:00:00Z"}, False),
        ({"received_before": "2030-01-01T00:00:00Z"}, True),
    ],
)
def test_the_queue_is_filtered(gateway: Gateway, query: dict[str, Any], found: bool) -> None:
    one = _queue(gateway, "filtered")
    listed = [item["queue_id"] for item in gateway.read("queue/messages", **query)["items"]]
    assert listed == ([one["queue_id"]] if found else [])


def test_pages_of_the_queue_contain_every_message_exactly_once(gateway: Gateway) -> None:
    known = {_queue(gateway, f"page {number}")["queue_id"] for number in range(5)}
    pages, cursor = [], None
    while True:
        page = gateway.read("queue/messages", limit=2, **({"cursor": cursor} if cursor else {}))
        pages.append([one["queue_id"] for one in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [len(page) for page in pages] in ([2, 2, 1], [2, 2, 1, 0])
    assert {one for page in pages for one in page} == known


def test_held_mail_waits_until_it_is_released(gateway: Gateway) -> None:
    one = _queue(gateway, "held by hand")
    _act(gateway, one["queue_id"], "hold")
    assert _state(gateway, one["queue_id"]) == "held"
    gateway.far.clear()
    _act(gateway, one["queue_id"], "release")
    gateway.delivered("held by hand", gateway.far)


def test_deleted_mail_causes_no_report_and_bounced_mail_causes_one(gateway: Gateway) -> None:
    deleted, bounced = _queue(gateway, "deleted by hand"), _queue(gateway, "bounced by hand")
    _act(gateway, deleted["queue_id"], "delete")
    _act(gateway, bounced["queue_id"], "bounce")
    report = gateway.delivered("bounced by hand")
    assert b"multipart/report" in report.header
    assert (report.sender, report.accepted_recipients) == (b"", [world.ALICE.encode()])
    assert not [one for one in gateway.mailbox.messages if b"deleted by hand" in one.content]
    states = {one["queue_id"]: one["state"] for one in world.history(gateway.suite)}
    assert (states[deleted["queue_id"]], states[bounced["queue_id"]]) == ("deleted", "bounced")


def _many(gateway: Gateway, action: str, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
    answer = gateway.suite.api.post(f"/v1/queue/messages:{action}", json=body, params={"dry_run": dry_run})
    assert answer.status_code == 200, answer.text
    last: dict[str, Any] = json.loads(answer.text.splitlines()[-1])
    return last


def test_an_action_on_many_messages_can_be_previewed(gateway: Gateway) -> None:
    mine = [_queue(gateway, f"many {number}") for number in range(2)]
    other = _queue(gateway, "another", "rob@far.test")
    chosen = {"filter": {"recipient": FAR}}
    tried = _many(gateway, "hold", chosen, dry_run=True)
    assert (tried["matched"], tried["acted"], tried["done"]) == (2, 0, True)
    assert {_state(gateway, one["queue_id"]) for one in mine} == {"deferred"}
    done = _many(gateway, "hold", chosen)
    assert (done["matched"], done["acted"], done["done"]) == (2, 2, True)
    assert {_state(gateway, one["queue_id"]) for one in mine} == {"held"}
    assert _state(gateway, other["queue_id"]) == "deferred"


def test_redirected_mail_arrives_at_the_new_recipient(gateway: Gateway) -> None:
    one = _queue(gateway, "redirected")
    gateway.post(f"queue/messages/{one['queue_id']}:redirect", {"recipient": "carol@ours.test"})
    arrived = gateway.delivered("redirected")
    assert (arrived.sender, arrived.accepted_recipients) == (world.ALICE.encode(), [b"carol@ours.test"])
    until(lambda: _state(gateway, one["queue_id"]) == "delivered", "the message is finished")
    shown = gateway.read(f"queue/messages/{one['queue_id']}")
    assert [(each["recipient"], each["state"]) for each in shown["deliveries"]] == [
        (FAR, "redirected"),
        ("carol@ours.test", "delivered"),
    ]
    [event] = [each for each in shown["timeline"] if each["event"] == "redirected"]
    assert (event["recipient"], event["detail"]) == (FAR, "to carol@ours.test")
    entry = gateway.read("audit-log", action="redirectMessage", limit=1)["items"][0]
    assert entry["target"] == f"queue/messages/{one['queue_id']}:redirect to carol@ours.test from {FAR}"
    assert not [message for message in gateway.far.messages if b"redirected" in message.content]


def test_redirected_mail_arrives_at_another_next_hop(gateway: Gateway) -> None:
    mine = [_queue(gateway, f"another way {number}") for number in range(2)]
    with SmtpSink() as other:
        body = {"filter": {"recipient": FAR}, "next_hop": {"kind": "smtp", "host": other.host, "port": other.port}}
        assert _many(gateway, "redirect", body, dry_run=True)["matched"] == 2
        assert _many(gateway, "redirect", body)["acted"] == 2
        for number in range(2):
            assert gateway.delivered(f"another way {number}", other).accepted_recipients == [FAR.encode()]
        until(lambda: {_state(gateway, one["queue_id"]) for one in mine} == {"delivered"}, "both messages are finished")


def test_a_suspended_destination_gets_no_mail(gateway: Gateway) -> None:
    first = _queue(gateway, "before")
    (destination,) = [one for one in gateway.read("queue/destinations")["items"] if one["deferred"]]
    assert (destination["queued"], destination["deferred"]) == (1, 1)
    assert "Come back later" in destination["last_error"]
    gateway.post(f"queue/destinations/{destination['name']}:suspend", {})
    gateway.far.clear()
    _act(gateway, first["queue_id"], "retry")
    with gateway.submission() as client:
        content = message("while suspended", sender=world.ALICE)
        assert client.transaction(world.ALICE, FAR, content=content) == "accepted"
        content = message("passes", sender=world.ALICE)
        assert client.transaction(world.ALICE, "carol@ours.test", content=content) == "accepted"
    gateway.delivered("passes")
    assert gateway.far.sessions == []
    gateway.post(f"queue/destinations/{destination['name']}:resume")
    gateway.delivered("while suspended", gateway.far)
    gateway.delivered("before", gateway.far)


# The history


def test_the_history_has_delivered_bounced_discarded_and_rejected_mail(gateway: Gateway) -> None:
    gateway.access("block", "sender", "discarded@far.test", action="discard")
    gateway.access("block", "sender", "rejected@far.test", action="reject")
    gateway.create("relay-domains", name="x", domain="partner.test")
    gateway.dns.replace("partner.test", "MX", "10 mx.far.test.")
    gateway.far.on(Stage.RCPT, reply("550 5.1.1 No such user"), address="eve@partner.test")
    for sender, recipient, answer in (
        ("delivered@far.test", world.ALICE, "accepted"),
        ("bounced@far.test", "eve@partner.test", "accepted"),
        ("discarded@far.test", world.ALICE, "accepted"),
        ("rejected@far.test", world.ALICE, "RCPT 554 5.7.1"),
    ):
        assert gateway.attempt(recipient, sender=sender, content=message("history")) == answer

    def states() -> dict[str, str]:
        kept = world.history(gateway.suite)
        words = ("delivered", "bounced", "discarded", "rejected")
        return {word: one["state"] for one in kept for word in words if one["sender"] == f"{word}@far.test"}

    until(lambda: len(states()) == 4, f"all four messages are in the history; states so far: {states()}")
    assert states() == {word: word for word in ("delivered", "bounced", "discarded", "rejected")}
    (rejected,) = gateway.read("messages", sender="rejected@far.test")["items"]
    assert (rejected["code"], rejected["enhanced_code"]) == (554, "5.7.1")
    gateway.dns.remove("partner.test")


# Explanations


@pytest.mark.parametrize(
    ("recipient", "sender", "code"),
    [
        (world.ALICE, FAR, None),
        ("nobody@ours.test", FAR, (550, "5.1.1")),
        (FAR, FAR, (554, "5.7.1")),
        (world.ALICE, "carol@ours.test", (553, "5.7.1")),
        (world.ALICE, "blocked@far.test", (554, "5.7.1")),
        (world.ALICE, "x@short", (504, "5.5.2")),
    ],
)
def test_explain_gives_the_reply_that_the_session_gets(
    gateway: Gateway, recipient: str, sender: str, code: tuple[int, str] | None
) -> None:
    gateway.access("block", "sender", "blocked@far.test", action="reject")
    gateway.patch("sender-policy", {"reject_non_fqdn_sender": "enforce"})
    explained = gateway.explain(client_address="93.9.9.9", sender=sender, recipient=recipient)
    answered = gateway.attempt(recipient, sender=sender)
    if code is None:
        assert (explained["action"], answered) == ("accept", "accepted")
    else:
        assert (explained["reply"]["code"], explained["reply"]["enhanced_code"]) == code
        assert answered == f"RCPT {code[0]} {code[1]}"


def test_a_relay_host_is_tested_like_a_delivery(gateway: Gateway) -> None:
    auth = {"username": "gateway", "password": "secret words"}
    with SmtpSink(Offer(logins={"gateway": "secret words"}, auth_without_tls=True)) as smart:
        host = {"host": smart.host, "port": smart.port, "auth": {**auth, "allow_without_tls": True}}
        trial = gateway.post("relay-hosts:test", {"kind": "proposed", "relay_host": host})
        assert trial["ok"], trial
        assert smart.sessions[0].authenticated
        host["auth"] = {**auth, "password": "wrong words", "allow_without_tls": True}
        trial = gateway.post("relay-hosts:test", {"kind": "proposed", "relay_host": host})
        assert not trial["ok"]
        assert [step["ok"] for step in trial["steps"]][-1] is False
        assert "words" not in json.dumps(trial)
        assert smart.messages == []


# Revisions, keys, export and import


def test_a_rollback_is_in_force_for_the_next_command(gateway: Gateway) -> None:
    before = gateway.read("revisions", limit=1)["items"][0]["number"]
    gateway.access("block", "sender", FAR, action="reject")
    assert gateway.attempt() == "RCPT 554 5.7.1"
    now = gateway.read("revisions", limit=1)["items"][0]["number"]
    difference = gateway.read("revisions:diff", from_revision=before, to_revision=now)["changes"]
    assert [(one["kind"], one["event"]) for one in difference] in (
        [("access-rules", "made")],
        [("access_rule", "made")],
        [("access-rule", "made")],
    )
    gateway.post(f"revisions/{before}:rollback", headers={"If-Match": "*"})
    until(lambda: gateway.attempt() == "accepted", "the rule is no longer in force after the rollback")


def test_an_unchanged_export_can_be_imported_and_a_changed_one_is_in_force(gateway: Gateway) -> None:
    exported = gateway.suite.api.get("/v1/config:export", params={"format": "yaml"})
    document = yaml.safe_load(exported.text)
    tried = gateway.suite.api.post("/v1/config:import", params={"dry_run": True}, json=document)
    assert tried.status_code == 200, tried.text
    assert tried.json()["changes"] == []
    document["aliases"].append({"address": "imported@ours.test", "targets": [world.ALICE]})
    tried = gateway.suite.api.post("/v1/config:import", params={"dry_run": True}, json=document)
    assert (tried.json()["made"], tried.json()["changed"], tried.json()["removed"]) == (1, 0, 0)
    assert gateway.attempt("imported@ours.test") == "RCPT 550 5.1.1"
    done = gateway.suite.api.post("/v1/config:import", json=document, headers={"If-Match": "*"})
    assert done.status_code == 200, done.text
    gateway.settle("aliases")
    assert gateway.attempt("imported@ours.test") == "accepted"
    # Passwords that the document leaves out are kept.
    with gateway.submission() as client:
        assert client.transaction(world.ALICE, FAR) == "accepted"


ALLOWED = {
    # The columns are: the role, and the status codes for reading settings, changing them, holding mail, and making
    # keys.
    "reader": (200, 403, 403, 403),
    "operator": (200, 403, 200, 403),
    "admin": (200, 201, 200, 201),
}


@pytest.mark.parametrize("role", sorted(ALLOWED))
def test_a_key_may_call_the_operations_of_its_role(gateway: Gateway, role: str) -> None:
    created = gateway.suite.api.post("/v1/api-keys", json={"name": f"a {role}", "role": role})
    assert created.status_code == 201, created.text
    key = created.json()["key"]
    assert key not in gateway.suite.api.get("/v1/api-keys").text
    with httpx.Client(base_url=gateway.suite.api_url, headers={"Authorization": f"Bearer {key}"}) as client:
        got = (
            client.get("/v1/settings/general").status_code,
            client.post("/v1/aliases", json={"address": "k@ours.test", "targets": [world.ALICE]}).status_code,
            client.post("/v1/queue/messages:hold", json={"filter": {"sender": "x@y.test"}}).status_code,
            client.post("/v1/api-keys", json={"name": f"by {role}", "role": "reader"}).status_code,
        )
    assert got == ALLOWED[role]
    for one in gateway.read("api-keys")["items"]:
        if one["name"] in (f"a {role}", f"by {role}"):
            etag = gateway.suite.api.get(f"/v1/api-keys/{one['id']}").headers["ETag"]
            assert gateway.status("DELETE", f"api-keys/{one['id']}", headers={"If-Match": etag}) == 204


def test_the_audit_log_has_the_actor_and_no_secret(gateway: Gateway) -> None:
    gateway.create("accounts", login="audited", password="a very secret word", addresses=["audited@ours.test"])
    log = gateway.suite.api.get("/v1/audit-log", params={"limit": 5})
    newest = next(one for one in log.json()["items"] if one["action"] == "createAccount")
    assert newest["status"] == 201
    assert newest["actor"]
    assert "a very secret word" not in log.text


def test_only_health_and_readiness_need_no_key(gateway: Gateway) -> None:
    with httpx.Client(base_url=gateway.suite.api_url) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        for path in ("settings/general", "accounts", "queue/messages", "messages", "config:export", "audit-log"):
            assert client.get(f"/v1/{path}").status_code == 401, path
