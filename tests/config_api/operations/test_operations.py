"""For the queue, history, blocked clients, explanations and tests, config_api calls policy and relay over gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from posthouse.config.v1 import config_pb2 as config
from posthouse.policy.v1 import policy_pb2 as policy
from posthouse.relay.v1 import relay_pb2 as relay

from tests.config_api.peers import FakePolicy, FakeRelay, peers
from tests.config_api.service import NOWHERE, Service, running

Operated = tuple[Service, FakePolicy, FakeRelay]


@pytest.fixture
async def operated(begun: Path, resolver: str) -> AsyncIterator[Operated]:
    async with peers() as (fake_policy, fake_relay, targets):
        url = f"sqlite:///{begun / 'config.sqlite3'}"
        async with running(url, begun, nameservers=resolver, **targets) as service:
            yield service, fake_policy, fake_relay


async def test_a_replica_that_is_down_is_skipped(begun: Path, resolver: str) -> None:
    async with peers() as (_, _, targets):
        several = {name: f"{NOWHERE},{target}" for name, target in targets.items()}
        url = f"sqlite:///{begun / 'config.sqlite3'}"
        async with running(url, begun, nameservers=resolver, **several) as service:
            assert (await service.get("/v1/queue/messages"))["items"]
            assert (await service.get("/v1/blocked-clients"))["items"]
            tried = await service.api.post("/v1/relay-hosts:test", json={"kind": "configured", "rule_id": "delivery"})
            assert len(tried.json()["steps"]) == 2


async def test_queued_mail_is_listed_and_shown(operated: Operated) -> None:
    service, _, fake_relay = operated
    path = (
        "/v1/queue/messages?sender=A@B%C3%BCcher.example&state=deferred&received_after=2026-01-31T12:00:00%2B01:00"
        "&last_reply_contains=%25_&attempts_at_least=2&limit=7"
    )
    page = await service.get(path)
    asked = fake_relay.asked[-1]
    assert asked.filter.sender == b"A@xn--bcher-kva.example"
    assert list(asked.filter.states) == [relay.DELIVERY_STATE_DEFERRED]
    assert asked.filter.received_after.ToJsonString() == "2026-01-31T11:00:00Z"
    assert (asked.filter.last_reply_contains, asked.filter.attempts_at_least) == ("%_", 2)
    assert (asked.page_size, asked.page_token) == (7, "")
    await service.get(f"{path}&cursor={page['next_cursor']}")
    assert fake_relay.asked[-1].page_token == "t2"
    [message] = page["items"]
    assert message["origin"]["helo_name"] == "\\xff\x01"
    assert message["deliveries"][0]["recipient"] == "jürgen@c.example"
    assert message["deliveries"][0]["last_attempt"]["code"] == 451
    assert (await service.get("/v1/queue/messages/q1?include_header=true"))["queue_id"] == "q1"
    assert fake_relay.asked[-1].include_header
    assert (await service.get("/v1/messages/q1"))["state"] == "deferred"
    assert (await service.get("/v1/messages?recipient_domain=c.example"))["next_cursor"] is None
    for path in ("queue/messages/q2", "messages/q2", "queue/messages/a%20b", "queue/messages/q2/content"):
        answer = await service.api.get(f"/v1/{path}")
        assert (answer.status_code, answer.json()["title"]) == (404, answer.json()["title"])


async def test_cursors_belong_to_their_list_and_filters(operated: Operated) -> None:
    service, _, fake_relay = operated
    cursor = (await service.get("/v1/queue/messages?state=deferred"))["next_cursor"]
    blocked = (await service.get("/v1/blocked-clients"))["next_cursor"]
    asked = len(fake_relay.asked)
    for path in (
        f"queue/messages?cursor={cursor}",
        f"queue/messages?state=held&cursor={cursor}",
        f"messages?state=deferred&cursor={cursor}",
        f"queue/destinations?cursor={cursor}",
        f"queue/destinations?cursor={blocked}",
        f"blocked-clients?cursor={cursor}",
        "queue/messages?cursor=t2",
        "queue/destinations?cursor=zzz",
        "blocked-clients?cursor=more",
    ):
        answer = await service.api.get(f"/v1/{path}")
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/cursor"), path
    assert len(fake_relay.asked) == asked
    # The size of a page may change, because it is not part of the filter.
    await service.get(f"/v1/queue/messages?state=deferred&limit=3&cursor={cursor}")
    assert fake_relay.asked[-1].page_token == "t2"


async def test_the_values_of_a_filter_are_not_converted_to_other_types(operated: Operated) -> None:
    """The API does not read `true` as a number, because a wrong filter would delete the wrong mail."""
    service, _, fake_relay = operated
    # No message can be in the state `unknown`, and relay would treat this value as if there were no filter.
    for path in ("queue/messages", "messages"):
        assert (await service.api.get(f"/v1/{path}?state=unknown")).status_code == 422
    body: dict[str, Any] = {"filter": {"state": "unknown"}}
    assert (await service.api.post("/v1/queue/messages:delete", json=body)).status_code == 422
    wrongs: tuple[Any, ...] = (True, "2", 2.0, [2], {})
    for wrong in wrongs:
        body = {"filter": {"attempts_at_least": wrong}}
        assert (await service.api.post("/v1/queue/messages:delete", json=body)).status_code == 422, wrong
    for text in ("1_0", "+1", "1.0", "0", "true", "٣"):
        for path in ("queue/messages", "messages"):
            answer = await service.api.get(f"/v1/{path}", params={"attempts_at_least": text})
            assert answer.status_code == 422, (path, text)
    assert fake_relay.asked == []
    times = {"received_after": "2026-01-31T12:00:00Z", "received_before": "2026-02-01T12:00:00+01:00"}
    body = {"filter": {"attempts_at_least": 2, "state": "deferred", "client_address": "::ffff:192.0.2.1", **times}}
    assert (await service.api.post("/v1/queue/messages:delete", json=body)).status_code == 200
    assert fake_relay.asked[-1].filter.attempts_at_least == 2
    await service.get("/v1/queue/messages?attempts_at_least=2")


async def test_clients_are_found_by_every_form_of_their_address(operated: Operated) -> None:
    service, _, fake_relay = operated
    for asked, found in (
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("nowhere", "nowhere"),
    ):
        for path in ("queue/messages", "messages"):
            await service.get(f"/v1/{path}?client_address={asked}")
            assert fake_relay.asked[-1].filter.client_address == found


async def test_content_is_streamed_and_recorded(operated: Operated) -> None:
    service, _, _ = operated
    answer = await service.api.get("/v1/queue/messages/q1/content")
    assert answer.content == b"Subject: x\r\n\r\nbody\r\n"
    assert answer.headers["content-type"].startswith("message/rfc822")
    [entry] = (await service.get("/v1/audit-log?action=getQueuedMessageContent"))["items"]
    assert (entry["target"], entry["status"]) == ("queue/messages/q1/content", 200)


async def test_an_action_applies_to_one_message_or_to_many_messages(operated: Operated) -> None:
    service, _, fake_relay = operated
    for action in ("retry", "hold", "release", "bounce", "delete"):
        answer = await service.api.post(f"/v1/queue/messages/q1:{action}")
        assert (answer.status_code, answer.json()["queue_id"]) == (200, "q1")
        asked = fake_relay.asked[-2]
        assert asked.action == relay.QueueAction.Value(f"QUEUE_ACTION_{action.upper()}")
        assert (asked.queue_id, asked.actor) == ("q1", "CONFIG_API_ADMIN_KEY")
    body = {"filter": {"destination": "domain:c.example"}}
    bounce = "/v1/queue/messages:bounce?dry_run=true"
    answer = await service.api.post(bounce, json=body)
    assert answer.json()["acted"] == 2
    assert fake_relay.asked[-1].dry_run
    assert fake_relay.asked[-1].filter.destination == "domain:c.example"
    lines = await service.api.post(bounce, json=body, headers={"Accept": "application/x-ndjson"})
    assert [json.loads(line)["done"] for line in lines.text.splitlines()] == [False, True]
    refused: list[dict[str, Any]] = [{"filter": {}}, {}, {"filter": {"unknown": 1}}, {"filter": {"sender": "x"}}]
    for wrong in refused:
        assert (await service.api.post("/v1/queue/messages:bounce", json=wrong)).status_code == 422
    assert (await service.api.post("/v1/queue/messages/q1:explode")).status_code == 404
    [entry] = (await service.get("/v1/audit-log?action=deleteMessage"))["items"]
    assert (entry["target"], entry["status"]) == ("queue/messages/q1:delete", 200)


async def test_one_message_or_many_messages_are_redirected(operated: Operated) -> None:
    service, _, fake_relay = operated
    path = "/v1/queue/messages/q1:redirect"
    answer = await service.api.post(path, json={"recipient": "New@B\u00fccher.example"})
    assert (answer.status_code, answer.json()["queue_id"]) == (200, "q1")
    asked = fake_relay.asked[-2]
    assert (asked.action, asked.queue_id, asked.actor) == (
        relay.QUEUE_ACTION_REDIRECT,
        "q1",
        "CONFIG_API_ADMIN_KEY",
    )
    assert asked.redirect.recipient == b"New@xn--bcher-kva.example"
    hosts = [{"host": "second.example", "port": 26}]
    next_hop = {"kind": "smtp", "host": "smart.example", "port": 2525, "tls": "verify", "fallback_hosts": hosts}
    assert (await service.api.post(path, json={"next_hop": next_hop})).status_code == 200
    asked = fake_relay.asked[-2].redirect.next_hop
    assert (asked.kind, asked.host, asked.port, asked.tls) == ("smtp", "smart.example", 2525, "verify")
    assert [(each.host, each.port) for each in asked.fallback_hosts] == [("second.example", 26)]
    assert (await service.api.post(path, json={"configured_route": True})).status_code == 200
    assert fake_relay.asked[-2].redirect.configured_route
    chosen = {"filter": {"destination": "domain:c.example"}, "recipient": "new@d.example"}
    many = await service.api.post("/v1/queue/messages:redirect?dry_run=true", json=chosen)
    assert many.json() == {"matched": 3, "acted": 2, "skipped": 1, "done": True}
    asked = fake_relay.asked[-1]
    assert (asked.dry_run, asked.filter.destination, asked.redirect.recipient) == (
        True,
        "domain:c.example",
        b"new@d.example",
    )
    headers = {"Accept": "application/x-ndjson"}
    lines = await service.api.post("/v1/queue/messages:redirect", json=chosen, headers=headers)
    assert [json.loads(line)["done"] for line in lines.text.splitlines()] == [False, True]


async def test_the_audit_log_names_old_and_new_recipients_of_a_redirect(operated: Operated) -> None:
    service, _, _ = operated
    await service.api.post("/v1/queue/messages/q1:redirect", json={"recipient": "new@d.example"})
    chosen = {"filter": {"recipient_domain": "c.example"}, "recipient": "new@d.example"}
    await service.api.post("/v1/queue/messages:redirect", json=chosen)
    next_hop = {"kind": "lmtp", "host": "mail.example"}
    await service.api.post("/v1/queue/messages/q1:redirect", json={"next_hop": next_hop})
    ones = (await service.get("/v1/audit-log?action=redirectMessage"))["items"]
    [many] = (await service.get("/v1/audit-log?action=redirectMessages"))["items"]
    old = "from old@c.example, jürgen@c.example"
    assert [entry["target"] for entry in (*ones, many)] == [
        f"queue/messages/q1:redirect to the next hop mail.example:24 {old}",
        f"queue/messages/q1:redirect to new@d.example {old}",
        f"queue/messages:redirect to new@d.example {old}",
    ]


async def test_a_redirect_to_an_impossible_target_is_refused(operated: Operated) -> None:
    service, _, fake_relay = operated
    await service.change("/v1/settings/general", {"profile": {"hostname": "gw.example"}})
    next_hop = {"kind": "smtp", "host": "smart.example"}
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({}, "", "one_target"),
        ({"configured_route": False}, "", "one_target"),
        ({"recipient": "a@d.example", "configured_route": True}, "", "one_target"),
        ({"recipient": "a@d.example", "next_hop": next_hop}, "", "one_target"),
        ({"recipient": "nowhere"}, "/recipient", "address"),
        ({"recipient": "nobody@c.example"}, "/recipient", "undeliverable"),
        ({"next_hop": {"kind": "maildir", "path": "/var/mail"}}, "/next_hop", "not_one_of"),
        ({"next_hop": {"kind": "smtp", "host": "gw.example"}}, "/next_hop/host", "loop"),
    ]
    for body, pointer, code in wrong:
        for path, more in (("messages/q1", {}), ("messages", {"filter": {"destination": "domain:c.example"}})):
            answer = await service.api.post(f"/v1/queue/{path}:redirect", json={**body, **more})
            assert answer.status_code == 422, (body, answer.text)
            assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)], body
    empty = await service.api.post("/v1/queue/messages:redirect", json={"filter": {}, "recipient": "a@d.example"})
    assert empty.json()["errors"][0]["code"] == "empty_filter"
    fake_relay.acts = False
    nothing = await service.api.post("/v1/queue/messages/q1:redirect", json={"recipient": "a@d.example"})
    assert (nothing.status_code, nothing.json()["detail"]) == (
        409,
        "redirect is not allowed for any delivery of this message: 1 deferred. The waiting ones already go there.",
    )


async def test_a_redirect_with_an_idempotency_key_is_done_once(operated: Operated) -> None:
    service, _, fake_relay = operated
    headers = {"Idempotency-Key": "a-redirect-that-is-sent-twice"}
    for _ in range(2):
        answer = await service.api.post(
            "/v1/queue/messages/q1:redirect", json={"recipient": "new@d.example"}, headers=headers
        )
        assert answer.json()["queue_id"] == "q1"
    assert sum(isinstance(each, relay.ActOnMessagesRequest) for each in fake_relay.asked) == 1


async def test_progress_of_an_action_with_a_key_is_shown_and_its_end_is_stored(operated: Operated) -> None:
    """The action continues when its reader disconnects. A repeated request gets the last line."""
    service, _, fake_relay = operated
    fake_relay.go_on.clear()
    hold, body = "/v1/queue/messages:hold", {"filter": {"destination": "domain:c.example"}}
    headers = {"Accept": "application/x-ndjson", "Idempotency-Key": "once"}
    async with service.api.stream("POST", hold, json=body, headers=headers) as answer:
        assert answer.status_code == 200
        first = json.loads(await anext(answer.aiter_lines()))
        assert (first["matched"], first["done"]) == (2, False)
    busy = await service.api.post(hold, json=body, headers=headers)
    assert busy.json()["type"] == "urn:posthouse:problem:in-progress"
    fake_relay.go_on.set()
    async with asyncio.timeout(60):
        again = busy
        while again.is_error:
            again = await service.api.post(hold, json=body, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == {"matched": 3, "acted": 2, "skipped": 1, "done": True}
    assert len(fake_relay.asked) == 1
    other = {"filter": {"destination": "domain:d.example"}}
    assert (await service.api.post(hold, json=other, headers=headers)).status_code == 409


async def test_the_answer_to_an_action_without_effect_gives_the_reason(operated: Operated) -> None:
    service, _, fake_relay = operated
    fake_relay.acts = False
    answer = await service.api.post("/v1/queue/messages/q1:release")
    assert answer.status_code == 409, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:posthouse:problem:nothing-done"
    assert problem["detail"] == "release is not allowed for any delivery of this message: 1 deferred."
    missing = await service.api.post("/v1/queue/messages/q2:release")
    assert missing.status_code == 404
    [_, refused] = (await service.get("/v1/audit-log?action=releaseMessage"))["items"]
    assert (refused["status"], refused["problem"]) == (409, "nothing-done")


async def test_suspending_a_destination_without_mail_gives_a_warning(operated: Operated) -> None:
    service, _, _ = operated
    answer = await service.api.post("/v1/queue/destinations/domain:typo.example:suspend", json={})
    assert [(warning["pointer"], warning["code"]) for warning in answer.json()["warnings"]] == [
        ("/name", "no_mail_queued")
    ]
    known = await service.api.post("/v1/queue/destinations/domain:c.example:suspend", json={})
    assert known.json()["warnings"] == []


async def test_destinations_are_suspended_and_resumed(operated: Operated) -> None:
    service, _, _ = operated
    assert (await service.get("/v1/queue/destinations"))["items"][0]["name"] == "domain:c.example"
    answer = await service.api.post(
        "/v1/queue/destinations/relay:smart.example:587:suspend", json={"until": "2030-01-31T12:00:00Z"}
    )
    found = answer.json()
    assert (found["name"], found["suspended"], found["suspended_by"], found["suspended_until"]) == (
        "relay:smart.example:587",
        True,
        "CONFIG_API_ADMIN_KEY",
        "2030-01-31T12:00:00.000Z",
    )
    assert (await service.api.post("/v1/queue/destinations/relay:smart.example:587:resume")).status_code == 200
    nothing = await service.api.post("/v1/queue/destinations/domain:x.example:resume")
    assert (nothing.status_code, nothing.json()["detail"]) == (409, "The destination is not suspended.")


async def test_blocked_clients_are_listed_and_unblocked(operated: Operated) -> None:
    service, fake_policy, _ = operated
    page = await service.get("/v1/blocked-clients")
    assert page["items"][0]["client"] == "2001:db8::/64"
    await service.get(f"/v1/blocked-clients?cursor={page['next_cursor']}")
    assert fake_policy.asked[-1].page_token == "more"
    assert (await service.api.delete("/v1/blocked-clients/2001:DB8::/64")).status_code == 204
    assert fake_policy.asked[-1].client == "2001:db8::/64"
    assert (await service.api.delete("/v1/blocked-clients/::ffff:192.0.2.1")).status_code == 404
    assert fake_policy.asked[-1].client == "192.0.2.1"
    assert (await service.api.delete("/v1/blocked-clients/nobody")).status_code == 404
    asked = len(fake_policy.asked)
    # No range of this width is ever blocked, and policy would lift the block of the first address in the range.
    for wider in ("2001:db8::/48", "2001:db8::/65", "192.0.2.0/24", "0.0.0.0/0", "::/0"):
        assert (await service.api.delete(f"/v1/blocked-clients/{wider}")).status_code == 404, wider
    assert len(fake_policy.asked) == asked
    statuses = [e["status"] for e in (await service.get("/v1/audit-log?action=deleteBlockedClient"))["items"]]
    assert statuses == [404] * 7 + [204]


async def test_a_session_is_explained_with_a_proposed_rule(operated: Operated) -> None:
    service, fake_policy, _ = operated
    facts = {"client_address": "192.0.2.1", "sender": "a@b.example", "recipient": "c@d.example"}
    rule: dict[str, Any] = {"list": "allow", "criterion": "sender", "value": "A@B\u00fccher.example"}
    body = {"kind": "hypothetical", "facts": facts, "proposed_rule": rule}
    assert (await service.api.post("/v1/explain/session", json=body)).status_code == 200
    proposed = fake_policy.asked[-1].proposed_access_rule
    assert (proposed.id, proposed.list, proposed.criterion, proposed.value, proposed.mode) == (
        "proposed",
        config.AccessRule.LIST_ALLOW,
        config.AccessRule.CRITERION_SENDER,
        "a@xn--bcher-kva.example",
        config.MODE_ENFORCE,
    )
    rule = {"list": "block", "criterion": "ip", "value": "192.0.2.1", "expires_at": "2030-01-31T12:00:00Z"}
    assert (await service.api.post("/v1/explain/session", json={**body, "proposed_rule": rule})).status_code == 200
    proposed = fake_policy.asked[-1].proposed_access_rule
    assert (proposed.action, proposed.expires_at.ToJsonString()) == (
        config.AccessRule.BLOCK_ACTION_REJECT,
        "2030-01-31T12:00:00Z",
    )
    # The proposed rule is not stored.
    assert (await service.get("/v1/access-rules"))["items"] == []
    asked = len(fake_policy.asked)
    for wrong, pointer in (
        ({**rule, "value": "nowhere"}, "/proposed_rule/value"),
        ({**rule, "criterion": "subject"}, "/proposed_rule/criterion"),
        ({**rule, "more": 1}, "/proposed_rule/more"),
    ):
        answer = await service.api.post("/v1/explain/session", json={**body, "proposed_rule": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), answer.text
    past = {"kind": "past", "session_id": "0" * 32, "proposed_rule": rule}
    assert (await service.api.post("/v1/explain/session", json=past)).status_code == 422
    assert len(fake_policy.asked) == asked


async def test_sessions_are_explained(operated: Operated) -> None:
    service, fake_policy, _ = operated
    facts = {
        "stage": "end_of_data",
        "client_address": "::ffff:192.0.2.1",
        "listener": "submission",
        "tls": True,
        "sender": "a@b.example",
        "recipient": "c@d.example",
        "content": {"hops": 3, "from_addresses": ["a@b.example"], "dkim": [{"result": "fail", "domain": "B.example"}]},
    }
    body = {"kind": "hypothetical", "facts": facts, "assumed": {"client_name": "none"}, "now": "2030-01-31T12:00:00Z"}
    answer = await service.api.post("/v1/explain/session", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["action"], found["reply"]["code"], found["rules"][0]["outcome"]) == ("reject", 554, "decided")
    assert found["lookups"] == [{"name": "client_name", "outcome": "none", "detail": None, "took_us": 1500}]
    asked = fake_policy.asked[-1]
    assert asked.facts.stage == policy.STAGE_END_OF_DATA
    assert asked.facts.session.client_address == "192.0.2.1"
    assert asked.facts.session.HasField("tls")
    assert list(asked.facts.transaction.recipients) == [b"c@d.example"]
    assert asked.facts.content.dkim[0].result == policy.CHECK_RESULT_FAIL
    assert asked.assumed.lookups["client_name"] == policy.LOOKUP_OUTCOME_NONE
    past = await service.api.post("/v1/explain/session", json={"kind": "past", "session_id": "0" * 32})
    assert (past.status_code, "secret text" in past.text) == (404, False)
    for now in ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T00:00:00Z"):
        refused = await service.api.post("/v1/explain/session", json={**body, "now": now})
        assert refused.status_code == 422, now
    for wrong in ({}, {**body, "session_id": "0" * 32}, {**body, "facts": {"client_address": "192.0.2.1"}}):
        assert (await service.api.post("/v1/explain/session", json=wrong)).status_code == 422


async def test_routes_are_explained(operated: Operated) -> None:
    service, _, fake_relay = operated
    answer = await service.api.post(
        "/v1/explain/route", json={"sender": "a@b.example", "recipient": "c@BÜCHER.example"}
    )
    [route] = answer.json()["routes"]
    assert route["recipient"] == "c@xn--bcher-kva.example"
    assert route["hosts"][0]["addresses"] == ["192.0.2.9"]
    assert fake_relay.asked[-1].sender == b"a@b.example"


async def test_the_postmaster_without_a_domain_is_explained(operated: Operated) -> None:
    """RCPT accepts this address, so Explain must accept it too (RFC 5321 section 4.5.1)."""
    service, fake_policy, fake_relay = operated
    for name, status in (("postmaster", 200), ("PostMaster", 200), ("mailer-daemon", 422), ("", 422)):
        facts = {"client_address": "192.0.2.1", "recipient": name, "recipients": [name]}
        session = await service.api.post("/v1/explain/session", json={"kind": "hypothetical", "facts": facts})
        route = await service.api.post("/v1/explain/route", json={"recipient": name})
        assert (session.status_code, route.status_code) == (status, status), name
        if status == 200:
            assert fake_policy.asked[-1].facts.transaction.recipient == name.encode()
            assert fake_relay.asked[-1].recipient == name.encode()


async def test_relay_hosts_can_be_tested(operated: Operated) -> None:
    service, _, fake_relay = operated
    configured = await service.api.post("/v1/relay-hosts:test", json={"kind": "configured", "rule_id": "delivery"})
    assert (configured.json()["ok"], configured.json()["steps"][1]["detail"]) == (False, "535 5.7.8")
    host = {"host": "smart.example", "port": 465, "auth": {"username": "u", "password": "hunter2"}}
    given = await service.api.post("/v1/relay-hosts:test", json={"kind": "proposed", "relay_host": host})
    assert given.json()["ok"] is True
    tried = fake_relay.asked[-1].relay_host
    assert (tried.implicit_tls, tried.auth_password) == (True, "hunter2")
    assert "hunter2" not in given.text
    tries = len(fake_relay.asked)
    without = await service.api.post(
        "/v1/relay-hosts:test", json={"kind": "proposed", "relay_host": {**host, "auth": {"username": "u"}}}
    )
    assert without.status_code == 422
    assert "/relay_host/auth/password" in [error["pointer"] for error in without.json()["errors"]]
    assert len(fake_relay.asked) == tries
    assert (
        await service.api.post("/v1/relay-hosts:test", json={"kind": "configured", "rule_id": "none"})
    ).status_code == 404
    assert (await service.api.post("/v1/relay-hosts:test", json={})).status_code == 422


async def test_f50_the_error_names_the_store_of_counters(operated: Operated) -> None:
    service, fake_policy, _ = operated
    fake_policy.store_is_away = True
    for answer in (
        await service.api.get("/v1/blocked-clients"),
        await service.api.delete("/v1/blocked-clients/192.0.2.1"),
    ):
        assert answer.status_code == 503, answer.text
        problem = answer.json()
        assert (problem["type"], problem["store"]) == ("urn:posthouse:problem:store-unavailable", "counters")
        assert "counters" in problem["title"]
