"""The decision stream: answers, sessions that are counted and released, session profiles, and new snapshots."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest
from posthouse.policy.v1 import policy_pb2

from services.policy import engine as engine_module
from services.policy.state.memory import MemoryStore
from services.policy.state.redis import RedisStore
from tests.peers.dns import DnsServer
from tests.peers.redis import Redis
from tests.policy.requests import auth, connect, rcpt, replied, request
from tests.policy.serving import Policy, client_sessions, opened, serving
from tests.policy.state.test_store import opening, until
from tests.policy.world import LOCAL, STRANGER, TRUSTED, snapshot

TWO = {"connection_policy": {"max_concurrent_connections": 2}}


async def released(policy: Policy, sessions: int) -> None:
    """Waits until policy counts this number of open sessions. It may release a session a moment after its answer."""
    assert isinstance(policy.store, MemoryStore)
    async with asyncio.timeout(60):
        while policy.store.open_sessions != sessions:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)


async def test_a_decision_that_waits_for_the_dns_does_not_delay_others(dns_server: DnsServer) -> None:
    rules = snapshot({"sender_policy": {"reject_unknown_sender_domain": "enforce"}})
    gate = dns_server.hold("slow.test")
    dns_server.add("quick.test", "A", "203.0.113.1")
    async with serving(rules, dns=dns_server.address) as policy, policy.stream() as stream:
        waiting = asyncio.create_task(stream.ask(rcpt("a@relay.test", "joe@slow.test")))
        await dns_server.query_came("slow.test", "MX")
        call = policy.stub.DecideStream()
        await call.write(policy_pb2.DecideFrame(requests=[rcpt("a@relay.test", "joe@quick.test")]))
        assert replied((await call.read()).verdicts[0]) == "accept"
        assert not waiting.done()
        gate.open()
        assert [replied(verdict) for verdict in await waiting] == ["550 5.1.8"]
        call.cancel()


async def test_many_sessions_share_a_frame() -> None:
    async with serving(snapshot()) as policy, policy.stream() as stream:
        verdicts = await stream.ask(
            connect(), rcpt("alice@local.test"), rcpt("ghost@local.test"), rcpt("x@elsewhere.test"), connect()
        )
        assert list(map(replied, verdicts)) == ["accept", "accept", "550 5.1.1", "554 5.7.1", "accept"]


async def test_closed_sessions_are_not_counted_any_more() -> None:
    async with serving(snapshot(TWO)) as policy, policy.stream() as stream:
        verdicts = await stream.ask(connect("s1"), connect("s2"), connect("s3"))
        assert list(map(replied, verdicts)) == ["accept", "accept", "421 4.7.0"]
        # Another client has a count of its own.
        assert [replied(verdict) for verdict in await stream.ask(connect("s4", "192.0.2.11"))] == ["accept"]
        await stream.ask(closed=[("s1", STRANGER), ("unknown", STRANGER)])
        assert [replied(verdict) for verdict in await stream.ask(connect("s5"))] == ["accept"]
        assert [replied(verdict) for verdict in await stream.ask(connect("s6"))] == ["421 4.7.0"]


async def test_closed_sessions_of_a_frame_make_room_for_its_requests() -> None:
    async with serving(snapshot(TWO)) as policy, policy.stream() as stream:
        await stream.ask(connect("s1"), connect("s2"))
        verdicts = await stream.ask(connect("s3"), connect("s4"), closed=[("s1", STRANGER)])
        assert list(map(replied, verdicts)) == ["accept", "421 4.7.0"]


async def test_a_session_that_ends_before_its_count_is_not_counted(redis_server: Redis) -> None:
    store = RedisStore(redis_server.url, seconds=30)
    async with serving(snapshot(), store=store) as policy, policy.stream() as stream:
        assert list(map(replied, await stream.ask(connect("other")))) == ["accept"]
        redis_server.freeze()
        await stream.call.write(stream.frame(requests=[connect("s1"), connect("s2")]))
        await stream.call.write(stream.frame(closed_sessions=client_sessions([("s1", STRANGER)])))
        # This answer does not need Redis. When it has come, policy has read both frames.
        assert replied((await stream.ask(rcpt("ghost@local.test")))[0]) == "550 5.1.1"
        redis_server.thaw()
        await until(store, [3], opening("s3"))


async def test_sessions_outlive_their_stream_and_belong_to_the_worker() -> None:
    async with serving(snapshot(TWO)) as policy:
        async with policy.stream("w1") as stream:
            await stream.ask(connect("s1"))
        async with policy.stream("w1") as again, policy.stream("w2") as other:
            await again.ask(connect("s2"))
            # Another worker reports these sessions as closed, which has no effect.
            await other.ask(closed=[("s1", STRANGER), ("s2", STRANGER)])
            assert [replied(verdict) for verdict in await other.ask(connect("s3"))] == ["421 4.7.0"]
            assert [replied(verdict) for verdict in await again.ask(connect("s3"))] == ["421 4.7.0"]
            await again.ask(closed=[("s1", STRANGER)])
            assert [replied(verdict) for verdict in await other.ask(connect("s3"))] == ["accept"]


async def test_a_whole_set_replaces_what_was_counted_of_the_worker() -> None:
    async with serving(snapshot(TWO)) as policy, policy.stream() as stream:
        await stream.ask(connect("s1"), connect("s2"))
        listed = [("s4", STRANGER), ("s5", f"::ffff:{STRANGER}"), ("s6", "no address")]
        settled = stream.frame().counter
        await stream.call.write(stream.frame(open_sessions=opened(listed, settled)))
        assert [replied(verdict) for verdict in await stream.ask(connect("s7"))] == ["421 4.7.0"]
        await released(policy, 2)
        await stream.ask(closed=[("s4", STRANGER), ("s5", STRANGER)])
        assert [replied(verdict) for verdict in await stream.ask(connect("s7"), connect("s8"))] == ["accept"] * 2


async def test_a_new_limit_counts_the_sessions_that_are_already_open() -> None:
    """Policy asks the workers for the sessions that are already open."""
    off = snapshot({"connection_policy": {"max_concurrent_connections": 0}})
    async with serving(off) as policy, policy.stream() as stream:
        verdicts = await stream.ask(connect("s1"), connect("s2"), connect("s3"))
        assert list(map(replied, verdicts)) == ["accept"] * 3
        policy.engine.use(snapshot(TWO))
        await stream.read()
        assert stream.asked_for_sessions == 1
        await stream.call.write(stream.frame(open_sessions=opened([("s1", STRANGER), ("s2", STRANGER)])))
        assert [replied(verdict) for verdict in await stream.ask(connect("s4"))] == ["421 4.7.0"]


async def test_a_redis_that_lost_its_keys_gets_the_open_sessions_again(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.policy.workers._REFRESH_SECONDS", 0.0)
    store = RedisStore(redis_server.url, seconds=30)
    async with serving(snapshot(TWO), store=store) as policy, policy.stream() as stream:
        assert list(map(replied, await stream.ask(connect("s1"), connect("s2")))) == ["accept"] * 2
        redis_server.flush()
        # Policy notices at a heartbeat of the stream that Redis has lost the sessions.
        async with asyncio.timeout(60):
            reading = asyncio.create_task(stream.read())
            while not reading.done():
                await stream.call.write(stream.frame())
                await asyncio.wait([reading], timeout=0.05)
        assert stream.asked_for_sessions
        await stream.call.write(stream.frame(open_sessions=opened([("s1", STRANGER), ("s2", STRANGER)])))
        await until(store, [3], opening("s3"))
        assert [replied(verdict) for verdict in await stream.ask(connect("s3"))] == ["421 4.7.0"]


async def test_a_single_decision_leaves_no_session_counted() -> None:
    async with serving(snapshot(TWO)) as policy:
        assert [replied(await policy.decide(connect())) for _ in range(5)] == ["accept"] * 5


async def test_ipv6_clients_of_one_64_network_are_one_client() -> None:
    """C104: a thousand addresses of one /64 are one client; so are the mapped forms of one IPv4 address."""
    async with serving(snapshot(TWO)) as policy, policy.stream() as stream:
        verdicts = await stream.ask(*(connect("", f"2001:db8:1:2::{number:x}") for number in range(1, 1001)))
        assert list(map(replied, verdicts)) == ["accept"] * 2 + ["421 4.7.0"] * 998
        verdicts = await stream.ask(connect("", "2001:db8:1:3::1"), connect("", f"::ffff:{STRANGER}"), connect())
        assert list(map(replied, verdicts)) == ["accept"] * 3
        assert [replied(verdict) for verdict in await stream.ask(connect("", f"::ffff:{STRANGER}"))] == ["421 4.7.0"]


async def test_the_login_of_one_connection_does_not_apply_to_another() -> None:
    """C69: when one of two sessions from one address logs in, the other session is not logged in."""
    async with serving(snapshot()) as policy, policy.stream() as stream:
        (verdict,) = await stream.ask(auth("alice", session_id="s1"))
        assert verdict.account == "alice"
        verdicts = await stream.ask(
            rcpt("x@elsewhere.test", "alice@local.test", session_id="s1", account_login="alice"),
            rcpt("x@elsewhere.test", "joe@sender.test", session_id="s2"),
        )
        assert list(map(replied, verdicts)) == ["accept", "554 5.7.1"]


async def test_before_the_first_snapshot_each_request_is_refused_temporarily() -> None:
    async with serving(None) as policy:
        verdict = await policy.decide(connect())
        assert (replied(verdict), verdict.close) == ("421 4.3.2", True)
        assert replied(await policy.decide(rcpt("alice@local.test"))) == "451 4.3.0"
        policy.engine.use(snapshot())
        assert replied(await policy.decide(connect())) == "accept"


async def test_a_new_snapshot_applies_from_the_next_decision_with_its_profile() -> None:
    async with serving(snapshot()) as policy, policy.stream() as stream:
        (verdict,) = await stream.ask(rcpt("alice@local.test"))
        assert not verdict.HasField("profile")
        policy.engine.use(snapshot({"revision": 8, "general": {"profile": {"max_recipients": 100}}, "accounts": []}))
        verdicts = await stream.ask(rcpt("alice@local.test"), rcpt("forward@local.test"))
        assert list(map(replied, verdicts)) == ["550 5.1.1", "accept"]
        assert verdicts[1].snapshot_revision == 8
        assert [(one.profile.revision, one.profile.max_recipients) for one in verdicts] == [(8, 100)] * 2
        # A session that already has this profile does not get it again.
        (verdict,) = await stream.ask(rcpt("forward@local.test", revision=8))
        assert not verdict.HasField("profile")


def _stages(verdict: policy_pb2.Verdict) -> set[str]:
    return {policy_pb2.Stage.Name(stage).removeprefix("STAGE_") for stage in verdict.profile.ask_stages}


async def test_the_profile_contains_the_limits_and_the_auth_mechanisms() -> None:
    async with serving(snapshot()) as policy:
        profile = (await policy.decide(connect())).profile
        assert (profile.revision, profile.hostname, profile.banner) == (7, "mx.posthouse.test", "ESMTP")
        assert (profile.max_message_size, profile.max_recipients, profile.max_hops) == (26_214_400, 1000, 50)
        assert (profile.max_junk_commands, profile.junk_commands_per_delay) == (100, 10)
        assert (list(profile.auth_mechanisms_plaintext), list(profile.auth_mechanisms_tls)) == ([], ["PLAIN", "LOGIN"])
        assert profile.max_refused_recipients == 100
        policy.engine.use(snapshot({"general": {"smtp_auth": {"forbid_plaintext_auth_without_tls": False}}}))
        profile = (await policy.decide(connect())).profile
        assert list(profile.auth_mechanisms_plaintext) == ["PLAIN", "LOGIN"]
        policy.engine.use(snapshot({"general": {"smtp_auth": {"enabled": False}}}))
        profile = (await policy.decide(connect())).profile
        assert (list(profile.auth_mechanisms_plaintext), list(profile.auth_mechanisms_tls)) == ([], [])


@pytest.mark.parametrize(
    ("changes", "client", "listener", "wanted"),
    [
        ({}, STRANGER, 1, set()),
        ({}, STRANGER, 2, {"MAIL"}),
        ({}, TRUSTED, 2, set()),
        ({}, LOCAL, 3, {"MAIL"}),
        ({"general": {"smtp_auth": {"skip_for_local_networks": True}}}, LOCAL, 3, set()),
        ({"connection_policy": {"max_messages_per_minute": 5}}, STRANGER, 1, {"MAIL"}),
        ({"connection_policy": {"max_messages_per_minute": 5}}, TRUSTED, 1, set()),
        ({"general": {"profile": {"reject_message_over_recipient_limit": True}}}, STRANGER, 1, set()),
        ({"advanced_security": {"max_unknown_recipients_per_day": 5}}, STRANGER, 1, {"MAIL"}),
        ({"content_checks": {"spf": {"mode": "shadow"}}}, STRANGER, 1, {"END_OF_DATA"}),
        ({"content_checks": {"dmarc": "enforce"}}, TRUSTED, 1, set()),
        ({"content_checks": {"antivirus": {"mode": "enforce", "clamd": "c:1"}}}, TRUSTED, 1, {"END_OF_DATA"}),
    ],
)
async def test_the_profile_lists_only_stages_with_a_decision(
    changes: dict[str, object], client: str, listener: int, wanted: set[str]
) -> None:
    always = {"CONNECT", "AUTH", "RCPT", "JUNK_COMMAND", "PIPELINING"}
    async with serving(snapshot(changes)) as policy:
        made = request("connect", client=client, listener=listener)
        assert _stages(await policy.decide(made)) == always | wanted


async def test_the_profile_lists_no_stage_of_a_rule_that_is_off() -> None:
    quiet = {"advanced_security": {"reject_unauthorized_pipelining": "off", "max_junk_commands": 0}}
    async with serving(snapshot(quiet)) as policy:
        assert _stages(await policy.decide(connect())) == {"CONNECT", "AUTH", "RCPT"}


async def test_an_invalid_request_gets_451_and_affects_nobody_else() -> None:
    async with serving(snapshot()) as policy, policy.stream() as stream:
        no_stage = policy_pb2.DecideRequest()
        no_stage.session.client_address = STRANGER
        verdicts = await stream.ask(
            request("connect", client="not an address"), no_stage, rcpt("a@b@c"), rcpt("alice@local.test")
        )
        assert list(map(replied, verdicts)) == ["451 4.3.0"] * 3 + ["accept"]


async def test_a_fault_of_our_own_gives_451_and_affects_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[object]:
        raise RuntimeError("boom")

    async with serving(snapshot(TWO)) as policy, policy.stream() as stream:
        monkeypatch.setattr(engine_module, "counted", broken)
        verdicts = await stream.ask(connect(), rcpt("alice@local.test"))
        assert list(map(replied, verdicts)) == ["451 4.3.0", "accept"]
        assert "boom" not in str(verdicts)


async def test_too_many_waiting_decisions_get_451(dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MAX_WAITING", 2)
    rules = snapshot({"sender_policy": {"reject_unknown_sender_domain": "enforce"}})
    gate = dns_server.hold("*.slow.test")
    async with serving(rules, dns=dns_server.address) as policy, policy.stream() as stream:
        waiting = [asyncio.create_task(policy.decide(rcpt("a@relay.test", f"j@{n}.slow.test"))) for n in range(2)]
        await dns_server.query_came("1.slow.test", "MX")
        await dns_server.query_came("0.slow.test", "MX")
        assert [replied(one) for one in await stream.ask(rcpt("a@relay.test", "j@2.slow.test"))] == ["451 4.3.0"]
        gate.open()
        assert [replied(await one) for one in waiting] == ["550 5.1.8"] * 2


async def test_decisions_of_one_network_that_wait_leave_room_for_others(
    dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MAX_WAITING_OF_CLIENT", 2)
    rules = snapshot({"sender_policy": {"reject_unknown_sender_domain": "enforce"}})
    gate = dns_server.hold("*.slow.test")
    dns_server.add("honest.test", "A", "203.0.113.1")
    async with serving(rules, dns=dns_server.address) as policy, policy.stream() as stream:
        waiting = [asyncio.create_task(policy.decide(rcpt("a@relay.test", f"j@{n}.slow.test"))) for n in range(2)]
        for number in range(2):
            await dns_server.query_came(f"{number}.slow.test", "MX")
        verdicts = await stream.ask(
            rcpt("a@relay.test", "j@2.slow.test", client="192.0.2.200"),
            rcpt("a@relay.test", "j@honest.test", client="203.0.113.7"),
        )
        assert list(map(replied, verdicts)) == ["451 4.3.0", "accept"]
        gate.open()
        assert [replied(await one) for one in waiting] == ["550 5.1.8"] * 2


async def test_every_decision_is_one_line_in_the_log() -> None:
    async with serving(snapshot(), clock=lambda: 1_800_000_000.25) as policy, policy.stream() as stream:
        await stream.ask(
            connect("s1"),
            rcpt("ghost@local.test", '"a\\"b"@sender.test', session_id="s1"),
            auth("alice", b"wrong password", session_id="s1"),
        )
        lines = [json.loads(line) for line in policy.log.getvalue().splitlines()]
    assert [(line["stage"], line["action"]) for line in lines] == [
        ("connect", "accept"),
        ("rcpt", "reject"),
        ("auth", "reject"),
    ]
    assert lines[1] == {
        "timestamp": "2027-01-15T08:00:00.250000Z",
        "level": "info",
        "event": "verdict",
        "service": "policy",
        "session_id": "s1",
        "client": STRANGER,
        "stage": "rcpt",
        "action": "reject",
        "revision": 7,
        "reason_id": "unknown_recipient",
        "code": 550,
        "enhanced_code": "5.1.1",
        "sender": '"a\\"b"@sender.test',
        "recipient": "ghost@local.test",
    }
    assert "wrong password" not in policy.log.getvalue()


async def test_an_unknown_session_cannot_be_explained() -> None:
    async with serving(snapshot()) as policy:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await policy.stub.Explain(policy_pb2.ExplainRequest(session_id="never seen"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_request_repeated_at_another_replica_is_not_counted_again() -> None:
    limits = {"max_messages_per_minute": 1, "max_connections_per_minute": 1}
    async with serving(snapshot({"connection_policy": limits})) as policy, policy.stream() as stream:
        for stage in ("connect", "mail"):
            first, again, more, last = (request(stage) for _ in range(4))
            again.asked_before = more.asked_before = True
            verdicts = await stream.ask(again, first, more, last)
            assert [replied(verdict)[:3] for verdict in verdicts[:3]] == ["acc"] * 3
            assert replied(verdicts[3])[0] == "4"


async def test_an_allowed_address_may_have_any_number_of_recipients_refused() -> None:
    rules = [{"id": "r1", "list": "allow", "criterion": "ip", "value": STRANGER}]
    async with serving(snapshot({"access_rules": rules})) as policy:
        assert (await policy.decide(connect())).profile.max_refused_recipients == 0
        assert (await policy.decide(connect(client=TRUSTED))).profile.max_refused_recipients == 100
