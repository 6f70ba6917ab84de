"""Explain shows which rules decide, and operators list and lift blocks of clients."""

from __future__ import annotations

import grpc
import pytest
from posthouse.policy.v1 import policy_pb2

from tests.peers.dns import DnsServer
from tests.policy.requests import auth, connect, rcpt, replied, request
from tests.policy.serving import serving
from tests.policy.world import STRANGER, settings, snapshot

RuleReport = policy_pb2.RuleReport


def outcomes(response: policy_pb2.ExplainResponse, stage: str = "RCPT") -> dict[str, str]:
    """Returns the outcome of each reason id at a stage.

    When there is a rule for each mode, the outcome is that of the rule that is on.
    """
    found: dict[str, str] = {}
    for rule in response.rules:
        if rule.stage == policy_pb2.Stage.Value(f"STAGE_{stage}"):
            name = RuleReport.Outcome.Name(rule.outcome).removeprefix("OUTCOME_")
            if found.get(rule.reason_id, "OFF") == "OFF":
                found[rule.reason_id] = name
    return found


async def test_every_rule_is_shown_with_its_outcome(dns_server: DnsServer) -> None:
    rules = snapshot(
        {
            "sender_policy": {"reject_non_fqdn_sender": "shadow", "reject_unknown_sender_domain": "enforce"},
            "content_checks": {"spf": {"mode": "enforce"}},
            "access_rules": [
                {"id": "a1", "list": "allow", "criterion": "sender", "value": "joe@workstation"},
                {"id": "b1", "list": "block", "criterion": "recipient", "value": "any@relay.test", "action": "reject"},
            ],
        }
    )
    async with serving(rules, dns=dns_server.address) as policy:
        request = policy_pb2.ExplainRequest(facts=rcpt("any@relay.test", "joe@workstation"))
        response = await policy.stub.Explain(request)
    found = outcomes(response)
    assert found["blocked_recipient"] == "SKIPPED"
    assert found["non_fqdn_sender"] == "SHADOW"
    assert found["unknown_sender_domain"] == "DECIDED"
    assert found["relay_denied"] == "PASS"
    assert found["unknown_client_hostname"] == "OFF"
    assert found["spf"] == "SKIPPED"
    assert outcomes(response, "CONNECT")["too_many_connections"] == "PASS"
    skipped = {rule.reason_id: rule.skipped_by for rule in response.rules if rule.skipped_by}
    assert skipped["spf"] == skipped["blocked_recipient"] == "a1"
    decided = [rule for rule in response.rules if rule.outcome == RuleReport.OUTCOME_DECIDED]
    assert [f"{rule.reply.code} {rule.reply.enhanced_code}" for rule in decided] == ["550 5.1.8"]
    assert decided[0].explanation
    assert replied(response.verdict) == "550 5.1.8"
    assert response.snapshot_revision == 7
    (lookup,) = [one for one in response.lookups if one.name == "sender_domain"]
    assert lookup.outcome == policy_pb2.LOOKUP_OUTCOME_NONE
    assert lookup.took.ToNanoseconds() > 0


async def test_facts_can_be_assumed_and_then_nothing_is_looked_up(dns_server: DnsServer) -> None:
    rules = snapshot({"sender_policy": {"reject_unknown_sender_domain": "enforce"}})
    async with serving(rules, dns=dns_server.address) as policy:
        wanted = {
            policy_pb2.LOOKUP_OUTCOME_FOUND: "accept",
            policy_pb2.LOOKUP_OUTCOME_NONE: "550 5.1.8",
            policy_pb2.LOOKUP_OUTCOME_NO_ANSWER: "450 4.1.8",
        }
        for outcome, reply in wanted.items():
            request = policy_pb2.ExplainRequest(facts=rcpt("any@relay.test"))
            request.assumed.lookups["sender_domain"] = outcome
            assert replied((await policy.stub.Explain(request)).verdict) == reply
    assert dns_server.queries == ()


PROPOSALS: list[tuple[dict[str, str], str]] = [
    ({"list": "allow", "criterion": "sender", "value": "joe@blocked.test"}, "accept"),
    ({"list": "allow", "criterion": "domain", "value": "blocked.test"}, "accept"),
    ({"list": "allow", "criterion": "domain", "value": ".test"}, "accept"),
    ({"list": "allow", "criterion": "recipient", "value": "any@relay.test"}, "accept"),
    ({"list": "allow", "criterion": "ip", "value": STRANGER}, "accept"),
    ({"list": "allow", "criterion": "network", "value": "0.0.0.0/0"}, "accept"),
    ({"list": "allow", "criterion": "sender", "value": "somebody@else.test"}, "554 5.7.1"),
    ({"list": "allow", "criterion": "sender", "value": "joe@blocked.test", "mode": "shadow"}, "554 5.7.1"),
    ({"list": "allow", "criterion": "sender", "value": "joe@blocked.test", "mode": "off"}, "554 5.7.1"),
    ({"list": "block", "criterion": "recipient", "value": "any@relay.test", "action": "discard"}, "discard"),
    ({"list": "block", "criterion": "ip", "value": STRANGER, "action": "reject"}, "554 5.7.1"),
]


@pytest.mark.parametrize(("proposal", "answer"), PROPOSALS, ids=range(len(PROPOSALS)))
async def test_a_proposed_rule_is_tried_as_if_it_existed_and_changes_nothing(
    proposal: dict[str, str], answer: str
) -> None:
    present = [
        {"id": "b1", "list": "block", "criterion": "domain", "value": "blocked.test", "action": "reject"},
        {"id": "b2", "list": "block", "criterion": "network", "value": "10.0.0.0/8", "action": "reject"},
    ]
    rule = {"id": "proposed", **proposal}
    facts = rcpt("any@relay.test", "joe@blocked.test")
    async with serving(snapshot({"access_rules": present})) as policy:
        request = policy_pb2.ExplainRequest(facts=facts)
        before = await policy.stub.Explain(request)
        (message,) = settings({"access_rules": [rule]}).access_rules
        request.proposed_access_rule.CopyFrom(message)
        tried = await policy.stub.Explain(request)
        request.ClearField("proposed_access_rule")
        after = await policy.stub.Explain(request)
    async with serving(snapshot({"access_rules": [*present, rule]})) as policy:
        stored = await policy.stub.Explain(policy_pb2.ExplainRequest(facts=facts))
    assert replied(before.verdict) == replied(after.verdict) == "554 5.7.1"
    assert (tried.rules, tried.verdict) == (stored.rules, stored.verdict)
    assert replied(tried.verdict) == answer
    assert tried.snapshot_revision == before.snapshot_revision


async def test_an_invalid_proposed_rule_is_an_invalid_argument() -> None:
    async with serving(snapshot()) as policy:
        request = policy_pb2.ExplainRequest(facts=rcpt("any@relay.test", "joe@x.test"))
        request.proposed_access_rule.value = "joe@x.test"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await policy.stub.Explain(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_time_can_be_assumed() -> None:
    rule = {"id": "b1", "list": "block", "criterion": "ip", "value": STRANGER, "action": "reject"}
    rules = snapshot({"access_rules": [{**rule, "expires_at": "2027-01-01T00:00:00Z"}]})
    async with serving(rules) as policy:
        request = policy_pb2.ExplainRequest(facts=rcpt("alice@local.test"))
        request.assumed.now.FromJsonString("2026-12-31T23:59:59Z")
        assert replied((await policy.stub.Explain(request)).verdict) == "554 5.7.1"
        request.assumed.now.FromJsonString("2027-01-01T00:00:00Z")
        assert replied((await policy.stub.Explain(request)).verdict) == "accept"


async def test_explaining_counts_nothing() -> None:
    rules = snapshot(
        {
            "connection_policy": {"max_concurrent_connections": 1, "max_connections_per_minute": 1},
            "advanced_security": {"max_unknown_recipients_per_day": 1},
        }
    )
    async with serving(rules) as policy, policy.stream() as stream:
        for _ in range(3):
            response = await policy.stub.Explain(policy_pb2.ExplainRequest(facts=rcpt("ghost@local.test")))
            assert replied(response.verdict) == "550 5.1.1"
        assert [replied(one) for one in await stream.ask(connect())] == ["accept"]
        assert (await policy.stub.ListBlockedClients(policy_pb2.ListBlockedClientsRequest())).clients == []


async def test_a_past_session_can_be_explained() -> None:
    async with serving(snapshot(), kept_sessions=2) as policy, policy.stream() as stream:
        await stream.ask(
            connect("s1"),
            auth("alice", b"secret word", session_id="s1"),
        )
        await stream.ask(rcpt("ghost@local.test", session_id="s1"))
        response = await policy.stub.Explain(policy_pb2.ExplainRequest(session_id="s1"))
        assert outcomes(response)["unknown_recipient"] == "DECIDED"
        assert "too_many_connections" in outcomes(response, "CONNECT")
        assert replied(response.verdict) == "550 5.1.1"
        assert response.facts.transaction.recipient == b"ghost@local.test"
        assert b"secret word" not in response.SerializeToString()
        await stream.ask(connect("s2"), connect("s3"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await policy.stub.Explain(policy_pb2.ExplainRequest(session_id="s1"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_past_login_is_explained_by_the_facts_before_it() -> None:
    async with serving(snapshot()) as policy, policy.stream() as stream:
        (verdict,) = await stream.ask(auth("alice", session_id="s1"))
        assert verdict.account == "alice"
        response = await policy.stub.Explain(policy_pb2.ExplainRequest(session_id="s1"))
    assert outcomes(response, "AUTH")["auth_twice"] == "PASS"
    assert replied(response.verdict) == "accept"


async def test_credentials_are_not_stored_at_any_stage() -> None:
    async with serving(snapshot()) as policy, policy.stream() as stream:
        stray = rcpt("alice@local.test", session_id="s1")
        stray.credentials.password = b"secret word"
        await stream.ask(auth("alice", b"secret word", session_id="s1"), stray)
        past = policy.engine.history.of_session("s1")
    assert len(past) == 2
    assert not any(b"secret" in each.kept for each in past)


async def test_explain_shows_the_look_ups_of_a_past_session(dns_server: DnsServer) -> None:
    rules = snapshot({"sender_policy": {"reject_unknown_sender_domain": "enforce"}})
    async with serving(rules, dns=dns_server.address) as policy, policy.stream() as stream:
        await stream.ask(rcpt("any@relay.test", session_id="s1"))
        response = await policy.stub.Explain(policy_pb2.ExplainRequest(session_id="s1"))
    assert outcomes(response)["unknown_sender_domain"] == "DECIDED"
    assert [(lookup.name, lookup.outcome) for lookup in response.lookups] == [
        ("sender_domain", policy_pb2.LOOKUP_OUTCOME_NONE)
    ]


async def test_invalid_facts_are_an_invalid_argument() -> None:
    async with serving(snapshot()) as policy:
        request = policy_pb2.ExplainRequest(facts=rcpt("alice@local.test", client="nowhere"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await policy.stub.Explain(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_blocked_client_is_listed_and_refused_until_it_is_unblocked() -> None:
    rules = snapshot({"advanced_security": {"max_unknown_recipients_per_day": 2, "timezone": "Europe/Berlin"}})
    # This is 23:30 in Berlin.
    now = 1_800_052_200.0
    client = "2001:db8:1:2::25"
    async with serving(rules, clock=lambda: now) as policy, policy.stream() as stream:
        verdicts = await stream.ask(
            rcpt("ghost@local.test", client=client),
            rcpt("alice@local.test", client=client),
            rcpt("spectre@local.test", client="2001:db8:1:2::26"),
            rcpt("alice@local.test", client=client),
            rcpt("postmaster@local.test", client=client),
            connect("", client),
        )
        assert list(map(replied, verdicts)) == [
            "550 5.1.1",
            "accept",
            # The recipient that reaches the limit gets its own answer, and the block begins after it (F31).
            "550 5.1.1",
            "421 4.7.0",
            "421 4.7.0",
            "421 4.7.0",
        ]
        assert [verdict.close for verdict in verdicts] == [False, False, False, True, True, True]
        mail = request("mail", client=client)
        assert [replied(one) for one in await stream.ask(mail)] == ["421 4.7.0"]
        (blocked,) = (await policy.stub.ListBlockedClients(policy_pb2.ListBlockedClientsRequest())).clients
        assert (blocked.client, blocked.reason, blocked.count) == ("2001:db8:1:2::/64", "unknown_recipients", 2)
        assert (blocked.blocked_at.seconds, blocked.ends_at.seconds) == (int(now), int(now) + 1800)
        lifted = await policy.stub.UnblockClient(policy_pb2.UnblockClientRequest(client="2001:db8:1:2::99"))
        assert lifted.client == blocked
        verdicts = await stream.ask(connect("", client), rcpt("ghost@local.test", client=client))
        assert list(map(replied, verdicts)) == ["accept", "550 5.1.1"]
        for name, code in (("192.0.2.1", grpc.StatusCode.NOT_FOUND), ("'--", grpc.StatusCode.INVALID_ARGUMENT)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await policy.stub.UnblockClient(policy_pb2.UnblockClientRequest(client=name))
            assert caught.value.code() is code


async def test_blocked_clients_come_in_pages() -> None:
    async with serving(snapshot({"advanced_security": {"max_unknown_recipients_per_day": 1}})) as policy:
        for number in range(1, 6):
            await policy.decide(rcpt("ghost@local.test", client=f"192.0.2.{number}"))
        pages, token = [], ""
        while True:
            request = policy_pb2.ListBlockedClientsRequest(page_size=2, page_token=token)
            page = await policy.stub.ListBlockedClients(request)
            pages.append([client.client for client in page.clients])
            token = page.next_page_token
            if not token:
                break
        assert pages == [["192.0.2.1", "192.0.2.2"], ["192.0.2.3", "192.0.2.4"], ["192.0.2.5"]]


async def test_hits_of_access_rules_are_counted() -> None:
    rules = snapshot(
        {
            "access_rules": [
                {"id": "b1", "list": "block", "criterion": "sender", "value": "joe@sender.test", "action": "reject"},
                {
                    "id": "b2",
                    "list": "block",
                    "criterion": "ip",
                    "value": STRANGER,
                    "action": "reject",
                    "mode": "shadow",
                },
                {"id": "a1", "list": "allow", "criterion": "domain", "value": "friend.test"},
                {"id": "a2", "list": "allow", "criterion": "ip", "value": "192.0.2.99"},
            ]
        }
    )
    async with serving(rules, clock=lambda: 1_800_000_000.0) as policy, policy.stream() as stream:
        await stream.ask(
            rcpt("alice@local.test"),
            rcpt("bob@local.test"),
            rcpt("alice@local.test", "ann@friend.test"),
            rcpt("alice@local.test", "ann@other.test", client="192.0.2.98"),
        )
    assert policy.hits.take() == {
        "b1": (2, 1_800_000_000.0),
        # A rule in shadow mode decides nothing but is evaluated anyway.
        "b2": (3, 1_800_000_000.0),
        "a1": (1, 1_800_000_000.0),
    }
    assert policy.hits.take() == {}


async def test_a_hit_is_counted_once_a_message() -> None:
    """A message counts as one hit of the rule, whether its recipients are refused or not."""
    rules = snapshot(
        {
            "access_rules": [
                {"id": "b1", "list": "block", "criterion": "sender", "value": "joe@sender.test", "action": "reject"},
                {"id": "a1", "list": "allow", "criterion": "domain", "value": "friend.test"},
                {"id": "b2", "list": "block", "criterion": "recipient", "value": "bob@local.test", "action": "discard"},
            ]
        }
    )
    async with serving(rules, clock=lambda: 1_800_000_000.0) as policy, policy.stream() as stream:
        for session in ("s1", "s2"):
            for sender in ("joe@sender.test", "joe@sender.test", "ann@friend.test"):
                for number, recipient in enumerate(("alice@local.test", "alice@local.test", "bob@local.test")):
                    asked = rcpt(recipient, sender, session_id=session)
                    asked.transaction.recipients_asked = number
                    await stream.ask(asked)
    hits = {rule_id: count for rule_id, (count, _) in policy.hits.take().items()}
    # Each session has two messages from joe and one from ann. The allow rule for ann exempts her mail from rule b2.
    assert hits == {"b1": 4, "a1": 2, "b2": 4}


async def test_a_discarded_message_is_explained_like_its_decision() -> None:
    """When every recipient was discarded, ingress does not ask at END_OF_DATA."""
    rules = snapshot(
        {
            "content_checks": {"antivirus": {"mode": "enforce", "clamd": "127.0.0.1:3310"}},
            "access_rules": [
                {"id": "b1", "list": "block", "criterion": "sender", "value": "joe@sender.test", "action": "discard"}
            ],
        }
    )
    facts = request("end_of_data")
    facts.transaction.sender = b"joe@sender.test"
    facts.transaction.recipients.append(b"alice@local.test")
    facts.content.virus.outcome = policy_pb2.VirusScan.OUTCOME_INFECTED
    async with serving(rules) as policy:
        response = await policy.stub.Explain(policy_pb2.ExplainRequest(facts=facts))
    assert (replied(response.verdict), response.verdict.rule_id) == ("discard", "b1")
    assert outcomes(response, "END_OF_DATA") == {}


async def test_the_result_of_rspamd_is_explained_without_its_password() -> None:
    spam = {"mode": "enforce", "rspamd": "http://127.0.0.1:11333", "password": "hidden words"}
    async with serving(snapshot({"content_checks": {"spam": spam}})) as policy:
        facts = request("end_of_data")
        facts.transaction.recipients.append(b"alice@local.test")
        facts.content.spam.action = policy_pb2.SpamScan.ACTION_REJECT
        facts.content.spam.score, facts.content.spam.required_score = 17.5, 15.0
        facts.content.spam.symbols.extend(["GTUBE", "HFILTER"])
        response = await policy.stub.Explain(policy_pb2.ExplainRequest(facts=facts))
        (rule,) = [rule for rule in response.rules if rule.reason_id == "spam"]
        assert rule.outcome == RuleReport.OUTCOME_DECIDED
        assert rule.explanation == "rspamd says reject, with a score of 17.50 of 15.00 (GTUBE, HFILTER)."
        assert replied(response.verdict) == "554 5.7.1"
        facts.content.spam.action = policy_pb2.SpamScan.ACTION_NO_ACTION
        response = await policy.stub.Explain(policy_pb2.ExplainRequest(facts=facts))
        (rule,) = [rule for rule in response.rules if rule.reason_id == "spam"]
        assert rule.outcome == RuleReport.OUTCOME_PASS
        assert rule.explanation.startswith("rspamd says no action")
        response = await policy.stub.Explain(policy_pb2.ExplainRequest(facts=rcpt("alice@local.test")))
        assert response.verdict.checks.rspamd.url == "http://127.0.0.1:11333"
        assert b"hidden words" not in response.SerializeToString()
