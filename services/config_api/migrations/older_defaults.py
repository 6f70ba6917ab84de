"""Defaults of the first schema, which stored every default: bodies of then without what nobody set.

The first start wrote all defaults into the database, so that a later default reached no database that existed. These
functions take such a default out again, in the database and in documents of the first format.
"""

from __future__ import annotations

from typing import Any

_SMTPS_PORT = 465
_OLD_RECIPIENTS_OVER_LIMIT = "defer_excess"


def without_recipients_over_limit(general: Any) -> Any:
    """`settings/general` without `recipients_over_limit` where it is the old default; unchanged otherwise."""
    profile = general.get("profile") if isinstance(general, dict) else None
    if not isinstance(profile, dict) or profile.get("recipients_over_limit") != _OLD_RECIPIENTS_OVER_LIMIT:
        return general
    other_members = {name: value for name, value in profile.items() if name != "recipients_over_limit"}
    return {**general, "profile": other_members}


def with_named_recipients(body: Any) -> Any:
    """A relay domain whose `recipients` says which addresses exist, where it was a list of them; empty: any.

    The addresses of the list are in a collection of their own.
    """
    if not isinstance(body, dict) or not isinstance(body.get("recipients"), list):
        return body
    other_members = {name: value for name, value in body.items() if name != "recipients"}
    return {**other_members, "recipients": "list"} if body["recipients"] else other_members


def without_followed_tls(body: Any) -> Any:
    """Delivery settings or a relay rule, whose relay host has no TLS member that equals what the others lead to.

    A `verify_certificate` of false beside required TLS may have been meant, and stays.
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
