"""Exemptions from rules. They depend on the session alone, and not on what the client sends. This module is pure.

Each function returns the name of the exemption, or the id of an allow rule. The result is empty when the exemption does
not apply.
"""

from __future__ import annotations

from services.policy.rules.access import allow_rules, matches
from services.policy.rules.configuration import Criterion
from services.policy.rules.model import Exempt, Exemption, Facts, Listener, Snapshot

_SMTP, _IP = Listener.SMTP.value, Criterion.IP


def may_hold(facts: Facts, snapshot: Snapshot) -> bool:
    """Whether any exemption may apply. The result is False for most sessions, which come from unknown clients on port
    25 that are on no list. Discard rules matter here, because mail that they drop is exempt from the block of its
    client.
    """
    client, access = facts.client, snapshot.access
    if client.trusted or client.local or facts.listener != _SMTP or facts.account is not None:
        return True
    if not (access.has_allow or access.has_discard) or not matches(facts):
        return False
    return access.has_discard or bool(allow_rules(facts, snapshot))


def logged_in(facts: Facts, snapshot: Snapshot) -> str:
    """Returns the exemption of logged-in clients. A login counts only while AUTH is on."""
    return Exemption.LOGGED_IN if facts.account is not None and snapshot.smtp_auth.enabled else ""


def trusted_network(facts: Facts, _snapshot: Snapshot) -> str:
    return Exemption.TRUSTED_NETWORK if facts.client.trusted else ""


def local_network(facts: Facts, snapshot: Snapshot) -> str:
    """Returns the exemption of clients in local networks, as long as they need no login."""
    return Exemption.LOCAL_NETWORK if facts.client.local and snapshot.smtp_auth.skip_for_local_networks else ""


def any_local_network(facts: Facts, _snapshot: Snapshot) -> str:
    """Returns the exemption of clients in local networks, whether they need a login or not."""
    return Exemption.LOCAL_NETWORK if facts.client.local else ""


def submission(facts: Facts, _snapshot: Snapshot) -> str:
    return Exemption.SUBMISSION if facts.listener != _SMTP else ""


def allowed_ip(facts: Facts, snapshot: Snapshot) -> str:
    """Returns the id of an allow rule on exactly the client's address."""
    for rule in allow_rules(facts, snapshot):
        if rule.criterion is _IP:
            return rule.id
    return ""


def any_of(*exemptions: Exempt) -> Exempt:
    """Returns a function that returns the first of these exemptions that applies."""

    def exempt(facts: Facts, snapshot: Snapshot) -> str:
        for exemption in exemptions:
            name = exemption(facts, snapshot)
            if name:
                return name
        return ""

    return exempt


# The exemptions from the connection policy.
connection_policy = any_of(trusted_network, local_network, allowed_ip)
# The exemptions from the sender policy.
sender_policy = connection_policy
# The exemptions from the rules about HELO and reverse names.
client_identity = any_of(logged_in, submission, trusted_network, local_network, allowed_ip)
# The exemptions from DNSBL, SPF, DKIM and DMARC, which are about mail from unknown clients.
stranger_checks = any_of(logged_in, trusted_network, local_network)
# The exemptions from blocks.
never_blocked = any_of(any_local_network, trusted_network, allowed_ip)
