"""The rules of AUTH: when it may be tried, and how each result of the password check is answered.
This module is pure.
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from enum import Enum

from libs.smtp.address import parse_address
from libs.smtp.reply import (
    AUTH_UNAVAILABLE,
    BAD_CREDENTIALS,
    BAD_SEQUENCE,
    ENCRYPTION_REQUIRED_FOR_AUTH,
    NOT_IMPLEMENTED,
)
from services.policy.rules.configuration import Account
from services.policy.rules.model import Facts, Rule, RuleMatch, Snapshot, Stage, always, when

MECHANISMS = ("PLAIN", "LOGIN")
# The mechanism for an account that another service has authenticated (RFC 4422 A). It is offered to no client.
EXTERNAL = "EXTERNAL"

_NOT_OFFERED = RuleMatch(NOT_IMPLEMENTED, explanation="AUTH is off.")
_AGAIN = RuleMatch(BAD_SEQUENCE, explanation="The session is logged in already (RFC 4954 4).")
_NEEDS_TLS = RuleMatch(ENCRYPTION_REQUIRED_FOR_AUTH, explanation="AUTH needs TLS, so the password was not checked.")


class CredentialOutcome(Enum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    # There were too many failures of this client or login, so the password was not checked.
    TOO_MANY_FAILURES = "too_many_failures"
    # Too many password checks are waiting, or the check has failed. This is never a permanent refusal (C72).
    UNAVAILABLE = "unavailable"


OUTCOMES: dict[CredentialOutcome, tuple[str, RuleMatch]] = {
    CredentialOutcome.REFUSED: (
        "auth_refused",
        RuleMatch(BAD_CREDENTIALS, explanation="Login and password do not match."),
    ),
    CredentialOutcome.TOO_MANY_FAILURES: (
        "auth_failure_rate",
        RuleMatch(AUTH_UNAVAILABLE, explanation="There were too many failed logins, so the password was not checked."),
    ),
    CredentialOutcome.UNAVAILABLE: (
        "auth_unavailable",
        RuleMatch(AUTH_UNAVAILABLE, explanation="Passwords cannot be checked at present."),
    ),
}


def login_key(login: str) -> str:
    """Returns the key by which logins are compared without regard to case. `login` must be in NFC."""
    return unicodedata.normalize("NFC", login.lower())


def account_of(login: str, snapshot: Snapshot) -> Account | None:
    """Returns the owner of a login or address, compared without case. The exact spelling of a login comes first, then a
    login without case, and then an address of another account.
    """
    account = snapshot.accounts.get(login) or _without_case(login_key(login), snapshot)
    if account is None and "@" in login:
        with suppress(ValueError):
            account = _without_case(parse_address(login).local_key(), snapshot)
    return account


def _without_case(key: str, snapshot: Snapshot) -> Account | None:
    return snapshot.logins.get(key) or snapshot.addressees.get(key)


def _not_offered(_facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    return None if snapshot.smtp_auth.enabled else _NOT_OFFERED


def _again(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    return _AGAIN if facts.account is not None else None


def _needs_tls(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    return None if facts.tls else _NEEDS_TLS


def mechanisms(tls: bool, snapshot: Snapshot) -> tuple[str, ...]:
    """Returns the mechanisms that EHLO offers."""
    auth = snapshot.smtp_auth
    if not auth.enabled or (auth.forbid_plaintext_auth_without_tls and not tls):
        return ()
    return MECHANISMS


NOT_OFFERED = Rule("auth_not_offered", Stage.AUTH, always, _not_offered)
AGAIN = Rule("auth_twice", Stage.AUTH, always, _again)
NEEDS_TLS = Rule(
    "auth_needs_tls",
    Stage.AUTH,
    lambda snapshot: when(snapshot.smtp_auth.forbid_plaintext_auth_without_tls),
    _needs_tls,
)
