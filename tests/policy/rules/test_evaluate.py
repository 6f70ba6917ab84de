"""Rules that are off in a snapshot are never evaluated. The others are tried in order."""

from __future__ import annotations

from services.policy.rules.evaluate import Rulebook
from services.policy.rules.model import Stage
from tests.policy.world import snapshot

OFF = {
    "content_checks": {
        "dnsbl": {"mode": "off", "zones": [{"zone": "list.test"}]},
        "spf": {"mode": "off", "reject_permerror": True},
        "dkim": "off",
        "dmarc": "off",
        "antivirus": {"mode": "off", "clamd": "127.0.0.1:3310"},
    },
    "sender_policy": {"reject_unknown_sender_domain": "off"},
}


def test_a_rule_that_is_off_is_not_tried() -> None:
    off, absent = Rulebook(snapshot(OFF)), Rulebook(snapshot())
    for stage in Stage:
        assert off.tried(stage) == absent.tried(stage)
    assert (off.operations, off.looks_up) == (absent.operations, absent.looks_up)


def test_rules_are_tried_in_order() -> None:
    rulebook = Rulebook(snapshot({"content_checks": {"dkim": "shadow", "dmarc": "enforce"}}))
    tried = rulebook.tried(Stage.END_OF_DATA)
    assert tried == ("message_too_big", "too_many_hops", "from_login_mismatch", "dkim", "dmarc")
