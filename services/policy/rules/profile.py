"""The session profile: the limits that ingress applies to a session, and the stages at which it must ask policy.
This module is pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.policy.rules import exemptions, protocol, relaying, results
from services.policy.rules.authentication import mechanisms
from services.policy.rules.evaluate import Rulebook
from services.policy.rules.model import Facts, Listener, Snapshot, Stage


@dataclass(frozen=True, slots=True)
class SessionProfile:
    """The settings of a session. `max_message_size` is in octets. A limit of 0 means that there is no limit."""

    revision: int
    hostname: str
    banner: str
    auth_mechanisms_plaintext: tuple[str, ...]
    auth_mechanisms_tls: tuple[str, ...]
    max_message_size: int
    max_recipients: int
    max_hops: int
    max_junk_commands: int
    junk_commands_per_delay: int
    ask_stages: tuple[Stage, ...]
    may_relay: bool
    max_refused_recipients: int


_SMTP = Listener.SMTP.value
# Policy is always asked at these stages: the client is counted at CONNECT, the password is checked at AUTH, and every
# recipient needs a decision.
_ALWAYS_ASKED = frozenset({Stage.CONNECT, Stage.AUTH, Stage.RCPT})

# Sessions with equal keys have the same profile under a snapshot.
ProfileKey = tuple[int, bool, bool, bool, bool, bool]


def profile_key(facts: Facts, snapshot: Snapshot) -> ProfileKey:
    """Returns the key of a session's profile. The revision is a part of the key, because a decision may end under an
    older snapshot.
    """
    client = facts.client
    return (
        snapshot.revision,
        facts.listener != _SMTP,
        facts.account is not None,
        client.trusted,
        client.local,
        facts.may_be_exempt and bool(exemptions.allowed_ip(facts, snapshot)),
    )


def session_profile(facts: Facts, rulebook: Rulebook) -> SessionProfile:
    """Returns the profile for the present state of the session. After a login, the verdict of AUTH contains a new
    profile.
    """
    snapshot = rulebook.snapshot
    profile = snapshot.profile
    junk = snapshot.advanced.max_junk_commands
    allowed_ip = facts.may_be_exempt and exemptions.allowed_ip(facts, snapshot)
    return SessionProfile(
        revision=snapshot.revision,
        hostname=profile.hostname,
        banner=profile.banner,
        auth_mechanisms_plaintext=mechanisms(False, snapshot),
        auth_mechanisms_tls=mechanisms(True, snapshot),
        max_message_size=profile.max_message_size,
        max_recipients=profile.max_recipients,
        max_hops=profile.max_hops,
        max_junk_commands=junk,
        junk_commands_per_delay=protocol.JUNK_COMMANDS_PER_DELAY if junk else 0,
        ask_stages=_ask_stages(facts, rulebook),
        may_relay=bool(relaying.permission(facts, snapshot)),
        max_refused_recipients=0 if allowed_ip else snapshot.advanced.max_refused_recipients,
    )


def _ask_stages(facts: Facts, rulebook: Rulebook) -> tuple[Stage, ...]:
    """Returns the stages at which a rule may match or a result is needed, and those at which ingress always asks."""
    session = Facts(
        facts.stage,
        facts.now,
        facts.session_id,
        facts.client,
        facts.listener,
        facts.account,
        tls=facts.tls,
    )
    stages = _ALWAYS_ASKED | rulebook.asked_stages(session)
    if results.expected(session, rulebook.snapshot):
        stages |= {Stage.END_OF_DATA}
    return tuple(sorted(stages))
