"""Block and allow lists: which entries match, how a match is answered, and which checks an allow rule skips. This
module is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from libs.smtp.reply import ACCESS_DENIED
from services.policy.rules.address_facts import AddressFacts
from services.policy.rules.configuration import AccessRule, Criterion, Mode
from services.policy.rules.model import Action, Check, Exempt, Facts, Rule, RuleMatch, Snapshot, Stage

# The allow matrix: the checks that a match of each criterion skips. An allow rule on `ip` also skips all other rules of
# the security settings (`exemptions.allowed_ip`).
EXEMPTS: Mapping[Criterion, frozenset[Check]] = MappingProxyType(
    {
        Criterion.IP: frozenset({Check.DNSBL, Check.SPF, Check.ANTIVIRUS, Check.DKIM, Check.DMARC, Check.SPAM}),
        Criterion.NETWORK: frozenset({Check.DNSBL, Check.SPF, Check.DKIM, Check.DMARC, Check.SPAM}),
        Criterion.SENDER: frozenset({Check.SPF, Check.ANTIVIRUS, Check.SPAM}),
        Criterion.RECIPIENT: frozenset({Check.SPF, Check.ANTIVIRUS, Check.SPAM}),
        Criterion.DOMAIN: frozenset({Check.SPF, Check.ANTIVIRUS, Check.DKIM, Check.DMARC, Check.SPAM}),
    }
)

# The sender of a message can be forged, and the address of a client cannot. So a block on a client's address is lifted
# only by an allow rule on a client's address.
_BY_ADDRESS = frozenset({Criterion.IP, Criterion.NETWORK})


_ENFORCE = Mode.ENFORCE


def matches(facts: Facts) -> tuple[AccessRule, ...]:
    """Returns every access rule that the facts match by address, sender, sender's domain or recipient, whether the rule
    is in force, in shadow mode or expired.
    """
    matching_rules = facts.listed
    if matching_rules is None:
        matching_rules = facts.listed = facts.client.access + facts.sender.as_sender + facts.recipient.as_recipient
    return matching_rules


def allow_rules(facts: Facts, snapshot: Snapshot) -> tuple[AccessRule, ...]:
    """Returns the allow rules in force that match."""
    rules_in_force = facts.allowed_by
    if rules_in_force is None:
        rules_in_force = matches(facts) if snapshot.access.has_allow else ()
        if rules_in_force:
            now = facts.now
            rules_in_force = tuple(
                rule for rule in rules_in_force if rule.allow and rule.mode is _ENFORCE and now < rule.expires_at
            )
        facts.allowed_by = rules_in_force
    return rules_in_force


def hits(facts: Facts) -> tuple[str, ...]:
    """Returns the ids of the allow rules that match, in force or in shadow mode, for their hit counters."""
    return tuple(
        rule.id for rule in matches(facts) if rule.allow and rule.mode is not Mode.OFF and facts.now < rule.expires_at
    )


def exempts(check: Check) -> Exempt:
    """Returns a function that returns the id of an allow rule that exempts from `check`."""

    def exempt(facts: Facts, snapshot: Snapshot) -> str:
        for rule in allow_rules(facts, snapshot):
            if check in EXEMPTS[rule.criterion]:
                return rule.id
        return ""

    return exempt


def recipient_exempts(check: Check, recipient: AddressFacts, facts: Facts) -> str:
    """Returns the id of the allow rule on a recipient of the message that exempts it from `check`."""
    if check not in EXEMPTS[Criterion.RECIPIENT]:
        return ""
    for rule in recipient.as_recipient:
        if rule.allow and rule.mode is Mode.ENFORCE and facts.now < rule.expires_at:
            return rule.id
    return ""


def discarded_by(facts: Facts, snapshot: Snapshot) -> str:
    """Returns the id of the discard rule in force that drops this mail. The result is empty when there is none."""
    if snapshot.access.has_discard:
        for rule in _DISCARDS_IN_FORCE:
            if rule.mode(snapshot) is Mode.ENFORCE and not rule.exempt(facts, snapshot):
                rule_match = rule.match(facts, snapshot)
                if rule_match is not None:
                    return rule_match.rule_id
    return ""


def discards(recipient: AddressFacts, facts: Facts, snapshot: Snapshot) -> bool:
    """Whether this recipient, which was answered as accepted, was discarded by a block rule. This function is used at
    stages after RCPT.
    """
    if not snapshot.access.has_discard:
        return False
    at_rcpt = Facts(
        stage=Stage.RCPT,
        now=facts.now,
        session_id=facts.session_id,
        client=facts.client,
        sender=facts.sender,
        recipient=recipient,
    )
    return bool(discarded_by(at_rcpt, snapshot))


def _lifted_by_any(facts: Facts, snapshot: Snapshot) -> str:
    for rule in allow_rules(facts, snapshot):
        return rule.id
    return ""


def _lifted_by_address(facts: Facts, snapshot: Snapshot) -> str:
    for rule in allow_rules(facts, snapshot):
        if rule.criterion in _BY_ADDRESS:
            return rule.id
    return ""


def _objection(rule: AccessRule) -> RuleMatch:
    kind = f"A block rule on the {rule.criterion} matches."
    if rule.discard:
        return RuleMatch(None, action=Action.DISCARD, rule_id=rule.id, explanation=kind)
    return RuleMatch(ACCESS_DENIED, rule_id=rule.id, explanation=kind)


def _block(criterion: Criterion, mode: Mode, *, discard: bool) -> Rule:
    """Makes the rule for the entries of the block list with one criterion, one action and one mode."""

    def match(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
        for rule in matches(facts):
            if (
                not rule.allow
                and rule.criterion is criterion
                and rule.discard is discard
                and rule.mode is mode
                and facts.now < rule.expires_at
            ):
                return _objection(rule)
        return None

    def on(snapshot: Snapshot) -> Mode:
        return mode if (criterion, discard, mode) in snapshot.access.blocks else Mode.OFF

    lifted: Callable[[Facts, Snapshot], str] = _lifted_by_address if criterion in _BY_ADDRESS else _lifted_by_any
    return Rule(f"blocked_{criterion}", Stage.RCPT, on, match, exempt=lifted, by_access_rules=True, for_postmaster=True)


def _blocks(*modes: Mode, discard: bool) -> tuple[Rule, ...]:
    criteria = (Criterion.IP, Criterion.NETWORK, Criterion.SENDER, Criterion.DOMAIN, Criterion.RECIPIENT)
    return tuple(_block(criterion, mode, discard=discard) for criterion in criteria for mode in modes)


# These rules are tried before all others at RCPT, because discarded mail is neither refused nor counted.
DISCARDS = _blocks(Mode.ENFORCE, Mode.SHADOW, discard=True)
REJECTIONS = _blocks(Mode.ENFORCE, Mode.SHADOW, discard=False)
_DISCARDS_IN_FORCE = _blocks(Mode.ENFORCE, discard=True)
