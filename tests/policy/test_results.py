"""The results for Authentication-Results (RFC 8601) that policy gives at END_OF_DATA."""

from __future__ import annotations

import asyncio
from typing import Any

from posthouse.policy.v1 import policy_pb2

from tests.peers.dns import Behaviour, DnsServer
from tests.policy.requests import connect, rcpt, request
from tests.policy.serving import serving
from tests.policy.world import STRANGER, TRUSTED, snapshot

EVERYTHING = {
    "connection_policy": {"reject_unknown_client_hostname": "shadow"},
    "content_checks": {"spf": {"mode": "shadow"}, "dkim": "shadow", "dmarc": "shadow", "arc": True},
}


def end_of_data(sender: str = "joe@sender.test", author: str = "joe@sender.test", **session: Any) -> Any:
    made = request("end_of_data", **session)
    made.transaction.sender = sender.encode()
    made.transaction.recipients.append(b"alice@local.test")
    made.content.size = 1000
    made.content.from_fields = 1
    made.content.from_addresses.append(author.encode())
    return made


def signed(made: policy_pb2.DecideRequest) -> policy_pb2.DecideRequest:
    made.content.dkim_checked = True
    made.content.dkim.add(
        result=policy_pb2.CHECK_RESULT_FAIL,
        domain=b"list.test",
        selector=b"s1",
        algorithm="rsa-sha256",
        signature_prefix=b"Abc+/1",
        reason="body hash did not verify",
    )
    made.content.dkim.add(result=policy_pb2.CHECK_RESULT_PASS, domain=b"Sender.test", selector=b"s2")
    made.content.arc.result = policy_pb2.CHECK_RESULT_PASS
    made.content.arc.sealer_domain = b"list.test"
    return made


def written(verdict: policy_pb2.Verdict) -> list[str]:
    """Returns the results roughly as ingress writes them."""
    return [
        " ".join(
            [
                f"{one.method}={policy_pb2.CheckResult.Name(one.result).removeprefix('CHECK_RESULT_').lower()}",
                *([f"({one.reason})"] if one.reason else []),
                *(f"{each.type}.{each.name}={each.value.decode()}" for each in one.properties),
            ]
        )
        for one in verdict.results
    ]


async def test_every_method_has_a_result(dns_server: DnsServer) -> None:
    dns_server.host_with_ptr("mail.sender.test", STRANGER)
    dns_server.add("sender.test", "TXT", f"v=spf1 ip4:{STRANGER} -all")
    dns_server.add("_dmarc.sender.test", "TXT", "v=DMARC1; p=reject")
    async with serving(snapshot(EVERYTHING), dns=dns_server.address) as policy:
        assert written(await policy.decide(signed(end_of_data()))) == [
            f"iprev=pass policy.iprev={STRANGER}",
            "spf=pass smtp.mailfrom=joe@sender.test",
            "dkim=fail (body hash did not verify) header.d=list.test header.s=s1 header.a=rsa-sha256 header.b=Abc+/1",
            "dkim=pass header.d=sender.test header.s=s2",
            "dmarc=pass header.from=sender.test policy.published-domain-policy=reject",
            "arc=pass header.d=list.test",
        ]


async def test_missing_records_and_the_null_sender_have_results(dns_server: DnsServer) -> None:
    async with serving(snapshot(EVERYTHING), dns=dns_server.address) as policy:
        made = end_of_data(sender="")
        made.content.dkim_checked = True
        assert written(await policy.decide(made)) == [
            f"iprev=fail policy.iprev={STRANGER}",
            "spf=none smtp.helo=mail.sender.test",
            "dkim=none",
            "dmarc=none header.from=sender.test",
        ]


async def test_a_missing_answer_is_a_temperror(dns_server: DnsServer) -> None:
    dns_server.behave("*.test", Behaviour.SERVFAIL)
    dns_server.behave("10.2.0.192.in-addr.arpa", Behaviour.REFUSED)
    async with serving(snapshot(EVERYTHING), dns=dns_server.address) as policy:
        assert written(await policy.decide(end_of_data())) == [
            f"iprev=temperror policy.iprev={STRANGER}",
            "spf=temperror smtp.mailfrom=joe@sender.test",
            "dmarc=temperror header.from=sender.test",
        ]


async def test_logged_in_and_trusted_clients_have_no_results_of_checks(dns_server: DnsServer) -> None:
    async with serving(snapshot(EVERYTHING), dns=dns_server.address) as policy:
        made = end_of_data("alice@local.test", "alice@local.test", account_login="alice")
        assert written(await policy.decide(signed(made))) == ["auth=pass smtp.auth=alice"]
        assert written(await policy.decide(signed(end_of_data(client=TRUSTED)))) == []
    assert dns_server.queries == ()


async def test_methods_that_are_off_have_no_results(dns_server: DnsServer) -> None:
    async with serving(snapshot(), dns=dns_server.address) as policy:
        assert written(await policy.decide(end_of_data())) == []
    assert dns_server.queries == ()


async def test_a_refused_message_has_no_results(dns_server: DnsServer) -> None:
    rules = snapshot({**EVERYTHING, "general": {"profile": {"max_hops": 1}}})
    async with serving(rules, dns=dns_server.address) as policy:
        made = end_of_data()
        made.content.hops = 2
        verdict = await policy.decide(made)
        assert verdict.action == policy_pb2.ACTION_REJECT
        assert written(verdict) == []


async def test_relaxed_alignment_looks_up_the_organization_of_each_domain(dns_server: DnsServer) -> None:
    """Relaxed alignment needs the organizational domains of the identifiers, which are looked up in a second round."""
    dns_server.add("_dmarc.bank.test", "TXT", "v=DMARC1; p=reject; psd=y")
    dns_server.add("_dmarc.a.bank.test", "TXT", "v=DMARC1; p=reject")
    for sender, wanted in (("joe@mail.a.bank.test", "pass"), ("joe@b.bank.test", "fail")):
        domain = sender.partition("@")[2]
        dns_server.add(domain, "TXT", "v=spf1 +all")
        rules = snapshot({"content_checks": {"dmarc": "enforce"}})
        async with serving(rules, dns=dns_server.address) as policy:
            made = end_of_data(sender, "joe@a.bank.test")
            made.content.dkim_checked = True
            verdict = await policy.decide(made)
            assert (verdict.action == policy_pb2.ACTION_ACCEPT) is (wanted == "pass")


async def test_rspamd_gets_the_results_that_are_known_at_rcpt(dns_server: DnsServer) -> None:
    dns_server.host_with_ptr("client.sender.test", STRANGER)
    dns_server.add("sender.test", "TXT", "v=spf1 +all")
    checks = {"spf": {"mode": "shadow"}, "spam": {"mode": "enforce", "rspamd": "http://127.0.0.1:11333"}}
    rules = snapshot({"content_checks": checks})
    async with serving(rules, dns=dns_server.address) as policy, policy.stream() as stream:
        await stream.ask(connect())
        async with asyncio.timeout(60):
            # The client's name is looked up from CONNECT on, and no decision waits for it.
            while True:
                (verdict,) = await stream.ask(rcpt("alice@local.test", "joe@sender.test"))
                if verdict.client_name:
                    break
                await asyncio.sleep(0.01)
        assert verdict.client_name == "client.sender.test"
        assert {result.method: result.result for result in verdict.results} == {
            "iprev": policy_pb2.CHECK_RESULT_PASS,
            "spf": policy_pb2.CHECK_RESULT_PASS,
        }
        assert verdict.checks.rspamd.url == "http://127.0.0.1:11333"


async def test_spam_marks_follow_the_action_of_rspamd_and_shadow_mode_changes_nothing() -> None:
    wanted = {
        ("enforce", "ADD_HEADER"): (True, True, ["spam"]),
        ("enforce", "REWRITE_SUBJECT"): (True, True, ["spam"]),
        ("enforce", "NO_ACTION"): (True, False, []),
        ("enforce", "ERROR"): (True, False, []),
        ("shadow", "ADD_HEADER"): (False, False, []),
        ("off", "ADD_HEADER"): (False, False, []),
    }
    for (mode, action), (is_present, is_marked, reasons) in wanted.items():
        spam = {"mode": mode, "rspamd": "http://127.0.0.1:11333"}
        async with serving(snapshot({"content_checks": {"spam": spam}})) as policy, policy.stream() as stream:
            asked = end_of_data()
            asked.content.spam.action = policy_pb2.SpamScan.Action.Value(f"ACTION_{action}")
            (verdict,) = await stream.ask(asked)
            assert verdict.HasField("spam_fields") is is_present, (mode, action)
            assert verdict.spam_fields.mark is is_marked, (mode, action)
            assert list(verdict.quarantine_reasons) == reasons, (mode, action)
            assert verdict.quarantine is bool(reasons), (mode, action)
