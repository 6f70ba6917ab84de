"""Search of messages and statistics: the API shows relay's answers."""

from __future__ import annotations

from posthouse.relay.v1 import relay_pb2 as relay

from tests.config_api.operations.test_operations import Operated, operated
from tests.config_api.peers import MESSAGE

__all__ = ["operated"]


async def test_the_filters_of_a_search_reach_relay(operated: Operated) -> None:
    service, _, fake_relay = operated
    filters = {
        "message_id": "<1@a.test>",
        "envelope_id": "e+3D1",
        "queue_id": "1A2B",
        "address_contains": "jürgen",
        "subject_contains": "100% off",
        "rule_id": "r1",
        "reason_id": "relay_denied",
        "shadow_reason_id": "dnsbl_listed",
        "shadow_rule_id": "r2",
    }
    answer = await service.api.get("/v1/messages", params=filters)
    assert answer.status_code == 200
    asked = fake_relay.asked[-1].filter
    assert asked == relay.MessageFilter(
        message_id=b"<1@a.test>",
        envelope_id=b"e+3D1",
        queue_id="1A2B",
        address_contains="jürgen",
        subject_contains="100% off",
        rule_id="r1",
        reason_id="relay_denied",
        shadow_reason_id="dnsbl_listed",
        shadow_rule_id="r2",
    )
    for name in filters:
        assert (await service.api.get("/v1/messages", params={name: ""})).status_code == 422, name


async def test_the_timeline_shows_verdicts_and_attempts(operated: Operated) -> None:
    service, _, _ = operated
    verdict = relay.SessionVerdict(stage="RCPT", action="reject", code=554, enhanced_code="5.7.1", reason_id="dnsbl")
    verdict.shadow.add(reason_id="spf_fail")
    MESSAGE.message_id, MESSAGE.subject = b"1@a.test", b""
    MESSAGE.timeline.add(event="verdict", verdict=verdict)
    MESSAGE.timeline.add(event="deferred", attempt=relay.Attempt(code=451, tls="TLSv1.3 X", tls_policy="dane"))
    try:
        shown = await service.get("/v1/messages/q1")
    finally:
        del MESSAGE.timeline[:]
        MESSAGE.message_id = b""
    assert (shown["message_id"], shown["subject"]) == ("1@a.test", None)
    decided, tried = shown["timeline"]
    assert decided["verdict"] == {
        "stage": "rcpt",
        "action": "reject",
        "code": 554,
        "enhanced_code": "5.7.1",
        "reason_id": "dnsbl",
        "rule_id": None,
        "shadow": [{"reason_id": "spf_fail", "rule_id": None}],
    }
    assert decided["attempt"] is None
    assert (tried["attempt"]["code"], tried["attempt"]["tls"], tried["attempt"]["tls_policy"]) == (
        451,
        "TLSv1.3 X",
        "dane",
    )
    assert tried["verdict"] is None


async def test_statistics_are_shown_by_bucket_and_reason_and_rule(operated: Operated) -> None:
    service, _, fake_relay = operated
    shown = await service.get(
        "/v1/statistics?after=2026-01-31T12:00:00%2B01:00&before=2026-02-01T00:00:00Z&bucket=five_minutes"
    )
    asked = fake_relay.asked[-1]
    assert (asked.bucket_seconds, asked.after.ToJsonString()) == (300, "2026-01-31T11:00:00Z")
    [bucket] = shown["buckets"]
    assert bucket == {
        "starts_at": "2026-01-31T12:00:00.000Z",
        "accepted": 4,
        "delivered": 3,
        "deferred": 2,
        "bounced": 1,
        "refused": [{"reason_id": "relay_denied", "count": 9}],
        "shadow": [
            {"reason_id": "dnsbl_listed", "rule_id": None, "count": 8},
            {"reason_id": "access_rule", "rule_id": "r1", "count": 7},
        ],
    }
    await service.get("/v1/statistics")
    asked = fake_relay.asked[-1]
    assert asked.before.seconds - asked.after.seconds == 86_400
    assert asked.bucket_seconds == 3600


async def test_an_empty_or_too_long_period_is_refused(operated: Operated) -> None:
    service, _, fake_relay = operated
    for query, code in (
        ("after=2026-02-01T00:00:00Z&before=2026-02-01T00:00:00Z", "order"),
        ("after=2025-01-31T00:00:00Z&before=2026-02-01T00:00:00Z&bucket=five_minutes", "too_many_buckets"),
    ):
        answer = await service.api.get(f"/v1/statistics?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)
    assert (await service.api.get("/v1/statistics?bucket=minute")).status_code == 422
    assert fake_relay.asked == []
