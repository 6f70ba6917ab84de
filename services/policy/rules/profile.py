"""The session profile: what ingress needs to know to hold a session, and at which stages it needs to ask. Pure."""

from __future__ import annotations

from libs.smtp.value import value
from services.policy.rules import exemptions, protocol, relaying
from services.policy.rules.authentication import mechanisms
from services.policy.rules.configuration import Mode
from services.policy.rules.model import Facts, Listener, Snapshot, Stage


@value(frozen=True, slots=True)
class SessionProfile:
    """`max_message_size` in octets; limits of 0 are none."""

    revision: int
    hostname: str
    banner: str
    auth_mechanisms_plaintext: tuple[str, ...]
    auth_mechanisms_tls: tuple[str, ...]
    max_message_size: int
    max_recipients: int
    reject_message_over_recipient_limit: bool
    max_hops: int
    max_junk_commands: int
    junk_commands_per_delay: int
    ask_stages: tuple[Stage, ...]
    may_relay: bool


_SMTP = Listener.SMTP.value

# What tells one session's profile from another's under a snapshot.
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


def session_profile(facts: Facts, snapshot: Snapshot) -> SessionProfile:
    """For the session as it is now; what a login changes comes again with AUTH."""
    profile = snapshot.profile
    junk = snapshot.advanced.max_junk_commands
    return SessionProfile(
        revision=snapshot.revision,
        hostname=profile.hostname,
        banner=profile.banner,
        auth_mechanisms_plaintext=mechanisms(False, snapshot),
        auth_mechanisms_tls=mechanisms(True, snapshot),
        max_message_size=profile.max_message_size,
        max_recipients=profile.max_recipients,
        reject_message_over_recipient_limit=profile.reject_message_over_recipient_limit,
        max_hops=profile.max_hops,
        max_junk_commands=junk,
        junk_commands_per_delay=protocol.JUNK_COMMANDS_PER_DELAY if junk else 0,
        ask_stages=tuple(stage for stage in Stage if _asked(stage, facts, snapshot)),
        may_relay=bool(relaying.permission(facts, snapshot)),
    )


def _asked(stage: Stage, facts: Facts, snapshot: Snapshot) -> bool:
    """Whether anything can be decided at the stage that ingress does not know from the profile itself.

    Size and hops are in the profile. HELO's rules are answered at RCPT.
    """
    match stage:
        case Stage.CONNECT | Stage.AUTH | Stage.RCPT:
            return True
        case Stage.MAIL:
            return _asked_at_mail(facts, snapshot)
        case Stage.DATA:
            return snapshot.profile.reject_message_over_recipient_limit and snapshot.profile.max_recipients > 0
        case Stage.END_OF_DATA:
            return _asked_at_end(facts, snapshot)
        case Stage.JUNK_COMMAND:
            return snapshot.advanced.max_junk_commands > 0
        case Stage.PIPELINING:
            return snapshot.advanced.reject_unauthorized_pipelining is not Mode.OFF
        case _:
            return False


def _asked_at_mail(facts: Facts, snapshot: Snapshot) -> bool:
    limited = snapshot.connection_policy.max_messages_per_minute > 0
    if limited and not exemptions.connection_policy(facts, snapshot):
        return True
    return facts.listener != _SMTP and not relaying.permission(facts, snapshot)


def _asked_at_end(facts: Facts, snapshot: Snapshot) -> bool:
    if facts.account is not None:
        # Authentication-Results says who logged in, and From must be the account's.
        return True
    checks = snapshot.content_checks
    if checks.antivirus.mode is not Mode.OFF:
        return True
    if exemptions.stranger_checks(facts, snapshot):
        return False
    on = (checks.spf, checks.dkim, checks.dmarc, snapshot.connection_policy.reject_unknown_client_hostname)
    return checks.arc or any(mode is not Mode.OFF for mode in on)
