"""ETag, If-Match and If-None-Match (RFC 9110 8.8.3, 13.1). The tag of a resource is the number of the revision that
wrote it.
"""

from __future__ import annotations

import re

from services.config_api.problems import FieldError, invalid, precondition_required, stale

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
# RFC 9110 5.6.1: lists may contain empty elements.
_LIST = re.compile(r'\s*(?:(?:W/)?"[\x21\x23-\x7e]*"|)(?:\s*,\s*(?:(?:W/)?"[\x21\x23-\x7e]*"|))*\s*')
_LONGEST_FIELD = 4096


def entity_tag(version: int) -> str:
    return f'"{version}"'


def required_versions(if_match: str | None, if_none_match: str | None, current: int) -> frozenset[int]:
    """Returns the versions for which the preconditions of the request hold. `*` stands for the current version. Weak
    tags never match (strong comparison). Raises Problem 428 without If-Match, 412 when no tag can match or
    If-None-Match matches the current version, and 422 when a field is malformed.
    """
    if if_none_match is not None and _matches(if_none_match, current):
        raise stale()
    if if_match is None:
        raise precondition_required()
    if if_match.strip() == "*":
        return frozenset({current})
    strong = [tag for is_weak, tag in _tags(if_match, "If-Match") if not is_weak]
    versions = frozenset(int(tag) for tag in strong if re.fullmatch(r"0|[1-9][0-9]{0,17}", tag))
    if not versions:
        raise stale()
    return versions


def require_newest(if_match: str | None, newest: int) -> None:
    """Checks the preconditions of a change of the whole configuration, whose version is the newest revision.

    Raises Problem 412, 422 and 428.
    """
    if newest not in required_versions(if_match, None, newest):
        raise stale()


def not_modified(if_none_match: str | None, version: int) -> bool:
    """Whether a GET is answered with 304 (weak comparison)."""
    return if_none_match is not None and _matches(if_none_match, version)


def _matches(field: str, version: int) -> bool:
    """Whether If-None-Match matches the version, by weak comparison."""
    return field.strip() == "*" or any(tag == str(version) for _, tag in _tags(field, "If-None-Match"))


def _tags(field: str, name: str) -> list[tuple[bool, str]]:
    tags = [(bool(is_weak), tag) for is_weak, tag in _TAG.findall(field)]
    if not tags or len(field) > _LONGEST_FIELD or not _LIST.fullmatch(field):
        raise invalid([FieldError(f"/{name}", "entity_tags", 'This must be * or a list like "12", "13".', "header")])
    return tags
