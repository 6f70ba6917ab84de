"""The quick check whether a session may have exemptions never misses an exemption."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.policy.rules import exemptions
from services.policy.rules.addresses import facts_of_address
from services.policy.rules.evaluate import RULES
from services.policy.rules.model import Facts, Stage
from tests.policy.world import LOCAL, STRANGER, STRANGER_V6, TRUSTED, snapshot

_ALLOW: list[dict[str, Any]] = [
    {"id": "a1", "list": "allow", "criterion": "ip", "value": "192.0.2.77"},
    {"id": "a2", "list": "allow", "criterion": "network", "value": "203.0.113.0/24"},
    {"id": "a3", "list": "allow", "criterion": "sender", "value": "friend@sender.test"},
    {"id": "a4", "list": "allow", "criterion": "recipient", "value": "alice@local.test"},
    {"id": "a5", "list": "allow", "criterion": "domain", "value": "friends.test"},
    {"id": "a6", "list": "allow", "criterion": "ip", "value": "192.0.2.78", "mode": "shadow"},
]
_DISCARD: list[dict[str, Any]] = [
    {"id": "d1", "list": "block", "criterion": "sender", "value": "joe@sender.test", "action": "discard"},
    {"id": "d2", "list": "block", "criterion": "ip", "value": "192.0.2.78", "action": "discard"},
    {"id": "d3", "list": "block", "criterion": "recipient", "value": "bob@local.test", "action": "discard"},
]
SNAPSHOTS = [
    snapshot(
        {
            "general": {"smtp_auth": {"skip_for_local_networks": skip, "skip_sender_match_for_trusted_networks": skip}},
            "access_rules": rules,
        }
    )
    for skip in (False, True)
    for rules in ([], _ALLOW, _DISCARD)
]


@given(
    under=st.sampled_from(SNAPSHOTS),
    client=st.sampled_from([STRANGER, STRANGER_V6, TRUSTED, LOCAL, "192.0.2.77", "192.0.2.78", "203.0.113.4"]),
    listener=st.sampled_from([1, 2, 3]),
    login=st.sampled_from(["", "alice"]),
    sender=st.sampled_from(["", "friend@sender.test", "x@friends.test", "joe@sender.test"]),
    recipient=st.sampled_from(["alice@local.test", "bob@local.test"]),
)
def test_may_hold_is_true_whenever_an_exemption_applies(
    under: Any, client: str, listener: int, login: str, sender: str, recipient: str
) -> None:
    facts = Facts(
        Stage.RCPT,
        0.0,
        "",
        under.clients.find(client),
        listener,
        account=under.accounts.get(login),
        sender=facts_of_address(sender.encode(), under),
        recipient=facts_of_address(recipient.encode(), under),
    )
    held = {rule.reason_id for rule in RULES if rule.exempt(facts, under)}
    assert exemptions.may_hold(facts, under) or not held
