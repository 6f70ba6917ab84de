"""The verdicts of a session that ingress sends to relay's history, and the Message-ID by which a refused message is
found.
"""

from __future__ import annotations

from posthouse.policy.v1 import policy_pb2 as pb
from posthouse.relay.v1 import relay_pb2

from tests.fakes.policy import accept, discard, reject
from tests.ingress.conftest import Ingress

SHADOW = pb.ShadowOutcome(reason_id="dnsbl_listed", rule_id="zone-1")


def told(verdicts: object) -> list[tuple[str, str, str, list[str]]]:
    """Returns stage, action, reason and shadow reasons of each verdict."""
    return [
        (verdict.stage, verdict.action, verdict.reason_id, [outcome.reason_id for outcome in verdict.shadow])
        for verdict in verdicts  # type: ignore[attr-defined]
    ]


async def test_a_message_has_the_verdicts_in_which_a_rule_matched(ingress: Ingress) -> None:
    ingress.policy.profile.ask_stages.append(pb.STAGE_MAIL)
    ingress.policy.on(pb.STAGE_CONNECT, accept(shadow=[SHADOW]))

    def judge(request: pb.DecideRequest) -> pb.Verdict:
        local = request.transaction.recipient.partition(b"@")[0]
        verdicts = {b"no": reject(550, "5.7.1", reason_id="access_rule"), b"drop": discard("access_rule", "rule-7")}
        return verdicts.get(local, accept())

    ingress.policy.on(pb.STAGE_RCPT, judge)
    client = await ingress.client()
    for _ in range(2):
        assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
        for local in ("yes", "no", "no", "drop"):
            await client.command(f"RCPT TO:<{local}@example.com>")
        assert (await client.data(b"Subject: x\r\n\r\n")).code == 250
    assert len(ingress.relay.messages) == 2
    for stored in ingress.relay.messages:
        assert told(stored.submission.verdicts) == [
            ("CONNECT", "accept", "", ["dnsbl_listed"]),
            # This verdict is listed once, although it refused two recipients.
            ("RCPT", "reject", "access_rule", []),
            ("RCPT", "discard", "access_rule", []),
        ]
        connect, refused, discarded = stored.submission.verdicts
        assert connect.shadow[0].rule_id == "zone-1"
        assert (refused.code, refused.enhanced_code) == (550, "5.7.1")
        assert (discarded.rule_id, discarded.code) == ("rule-7", 0)
        assert connect.at.seconds > 1_700_000_000
    await ingress.relay.until(lambda: len(ingress.relay.refused) == 4)
    assert told(ingress.relay.refused[0].verdicts) == [
        ("CONNECT", "accept", "", ["dnsbl_listed"]),
        ("RCPT", "reject", "access_rule", []),
    ]


async def test_a_message_without_matches_has_no_verdicts(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.send_mail()).code == 250
    assert list(ingress.relay.messages[0].submission.verdicts) == []


async def test_the_number_of_verdicts_is_bounded(ingress: Ingress) -> None:
    ingress.policy.on(
        pb.STAGE_RCPT, lambda request: accept(reason_id=request.transaction.recipient.decode().partition("@")[0])
    )
    client = await ingress.client()
    await client.envelope("a@example.org", *(f"r{number}@example.com" for number in range(60)))
    assert (await client.data(b"Subject: x\r\n\r\n")).code == 250
    assert len(ingress.relay.messages[0].submission.verdicts) == 25


async def test_refused_content_is_recorded_with_its_message_id(ingress: Ingress) -> None:
    ingress.policy.profile.ask_stages.append(pb.STAGE_END_OF_DATA)
    ingress.policy.on(pb.STAGE_END_OF_DATA, reject(550, "5.7.1", reason_id="dmarc"))
    client = await ingress.client()
    content = b"Subject: x\r\nMessage-ID: <1@a.test>\r\n\r\n"
    assert (await client.send_mail(content)).code == 550
    hops = b"Received: x\r\n" * 60
    assert (await client.send_mail(hops + content)).code == 554
    assert (await client.send_mail(b"Subject: x\r\n\r\n")).code == 550
    await ingress.relay.until(lambda: len(ingress.relay.refused) == 3)
    by_dmarc, by_hops, without = ingress.relay.refused
    assert [each.message_id for each in (by_dmarc, by_hops, without)] == [b"<1@a.test>", b"<1@a.test>", b""]
    assert told(by_dmarc.verdicts) == [("END_OF_DATA", "reject", "dmarc", [])]
    assert isinstance(by_hops, relay_pb2.RefusedMessage)
    assert (by_hops.reason_id, told(by_hops.verdicts)) == ("too_many_hops", [])
