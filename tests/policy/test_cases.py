"""Each YAML case runs twice: directly against the rules, and through gRPC with a real DNS server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from posthouse.policy.v1 import policy_pb2

from services.policy import wire
from services.policy.rules.counting import counted, operations
from services.policy.rules.evaluate import NeedsLookups, Rulebook
from services.policy.snapshot import compile_snapshot
from services.policy.state.memory import MemoryStore
from services.policy.state.store import NO_WORKER
from tests.peers.dns import DnsServer
from tests.policy.case import Case, cases
from tests.policy.serving import serving
from tests.policy.world import settings

ALL = list(cases())
NOW = 1_800_000_000.0


def test_case_names_are_unique() -> None:
    assert len({case.id for case in ALL}) == len(ALL)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_each_case_has_its_result_from_the_rules(case: Case) -> None:
    rulebook = Rulebook(compile_snapshot(settings(case.settings)))
    store = MemoryStore()
    message = policy_pb2.Verdict()
    for _ in range(case.repeat):
        message = policy_pb2.Verdict()
        facts = wire.facts(wire.Request(case.request()), rulebook.snapshot, NOW)
        asked = operations(facts, rulebook.snapshot)
        facts.counts = counted(asked, store.apply_now(asked, NO_WORKER, NOW))
        verdict = rulebook.evaluate(facts)
        while isinstance(verdict, NeedsLookups):
            facts.lookup_results.update({question: case.lookup_result(question) for question in verdict.questions})
            verdict = rulebook.evaluate(facts)
        wire.fill(message, verdict, rulebook.snapshot.revision)
    assert seen(message, case.wanted) == case.wanted


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
async def test_each_case_has_its_result_through_grpc(case: Case, dns_server: DnsServer) -> None:
    snapshot = compile_snapshot(settings(case.settings))
    async with serving(snapshot, dns=dns_server.address, clock=lambda: NOW) as policy, policy.stream() as stream:
        message = policy_pb2.Verdict()
        for _ in range(case.repeat):
            request = case.request()
            case.fill(dns_server, request)
            (message,) = await stream.ask(request)
        assert message.snapshot_revision == 7
        assert seen(message, case.wanted) == case.wanted


def seen(message: policy_pb2.Verdict, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the verdict in the form of a case, with the fields that are compared. The action is always one of them,
    and so are shadow outcomes and the end of the session when the verdict has them.
    """
    found: dict[str, Any] = {
        "action": policy_pb2.Action.Name(message.action).removeprefix("ACTION_").lower(),
        "reply": f"{message.reply.code} {message.reply.enhanced_code}" if message.HasField("reply") else "",
        "reason": message.reason_id,
        "rule": message.rule_id,
        "close": message.close,
        "delay": message.delay.seconds,
        "quarantine": message.quarantine,
        "shadow": [outcome.reason_id for outcome in message.shadow],
        "checks": sorted(
            ["dkim"] * message.checks.dkim
            + ["arc"] * message.checks.arc
            + ["clamd"] * bool(message.checks.clamd)
            + ["rspamd"] * message.checks.HasField("rspamd")
        ),
    }
    always = {"action"} | ({"shadow"} if found["shadow"] else set()) | ({"close"} if found["close"] else set())
    return {name: value for name, value in found.items() if name in always or name in wanted}
