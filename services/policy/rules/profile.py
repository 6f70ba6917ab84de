"""The session profile: what ingress needs to know to hold a session, and at which stages it needs to ask. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from services.policy.rules import exemptions, protocol, relaying, results
from services.policy.rules.authentication import mechanisms
from services.policy.rules.evaluate import Rulebook
from services.policy.rules.model import Facts, Listener, Snapshot, Stage


@dataclass(frozen=True, slots=True)
class SessionProfile:
    """`max_message_size` in octets; limits of 0 are none."""

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
# The client is counted at CONNECT, the password is checked at AUTH, and every recipient is a decision.
_ALWAYS_ASKED = frozenset({Stage.CONNECT, Stage.AUTH, Stage.RCPT})

# Sessions with equal keys have the same profile under a snapshot.
ProfileKey = tuple[int, bool, bool, bool, bool, bool]


def profile_key(facts: Facts, snapshot: Snapshot) -> ProfileKey:
    """Sessions with the same key have the same profile. Revisions differ: a decision may end under an older one."""
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
    """The profile for the session as it is now. After a login, AUTH's verdict brings a new one."""
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
    """The stages at which a rule may match or results are expected, and those that ingress always asks about."""
    session = Facts(
        facts.stage,
        facts.now,
        facts.session_id,
        facts.client,
        facts.listener,
        facts.tls,
        account=facts.account,
    )
    stages = _ALWAYS_ASKED | rulebook.asked_stages(session)
    if results.expected(session, rulebook.snapshot):
        stages |= {Stage.END_OF_DATA}
    return tuple(sorted(stages))
