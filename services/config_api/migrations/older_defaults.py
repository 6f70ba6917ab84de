"""Converts objects of the first schema, and removes the defaults that it had stored although nobody had set them.

With the first schema, the first start stored all defaults. So a later change of a default had no effect on an existing
database. These functions remove such defaults from the database and from documents of the first format.
"""

from __future__ import annotations

from typing import Any

_SMTPS_PORT = 465
_OLD_RECIPIENTS_OVER_LIMIT = "defer_excess"


def without_recipients_over_limit(general: Any) -> Any:
    """Returns `settings/general` without `recipients_over_limit` if this member has the old default. Otherwise the
    settings are unchanged.
    """
    profile = general.get("profile") if isinstance(general, dict) else None
    if not isinstance(profile, dict) or profile.get("recipients_over_limit") != _OLD_RECIPIENTS_OVER_LIMIT:
        return general
    other_members = {name: value for name, value in profile.items() if name != "recipients_over_limit"}
    return {**general, "profile": other_members}


def with_named_recipients(body: Any) -> Any:
    """Converts a relay domain whose `recipients` was a list of addresses. In the present form, `recipients` names the
    source that says which addresses exist: "list", or the default "any" in place of an empty list.

    The addresses themselves now belong to a separate collection.
    """
    if not isinstance(body, dict) or not isinstance(body.get("recipients"), list):
        return body
    other_members = {name: value for name, value in body.items() if name != "recipients"}
    return {**other_members, "recipients": "list"} if body["recipients"] else other_members


def without_followed_tls(body: Any) -> Any:
    """Returns delivery settings or a relay rule. TLS members of the relay host are removed if their value is the one
    that follows from the other members.

    If TLS is required and `verify_certificate` is false, somebody may have intended this, so the member is kept.
    """
    host = body.get("relay_host") if isinstance(body, dict) else None
    if not isinstance(host, dict):
        return body
    other_members = dict(host)
    implicit = host.get("implicit_tls", host.get("port") == _SMTPS_PORT)
    if implicit == (host.get("port") == _SMTPS_PORT):
        other_members.pop("implicit_tls", None)
    if host.get("verify_certificate") == (host.get("always_tls") is True or implicit is True):
        other_members.pop("verify_certificate", None)
    return {**body, "relay_host": other_members}
