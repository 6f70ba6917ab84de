"""The filters of lists. Each one compares a member exactly, in its canonical form."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable, Sequence

from services.config_api.resources.description import Filter

_LONGEST_TERM = 1024


def name_key(name: str) -> str:
    """Returns a key that is the same for names that differ only in case and Unicode composition."""
    return unicodedata.normalize("NFC", name).casefold()[:_LONGEST_TERM]


def lenient(*canonical: Callable[[str], str]) -> Callable[[str], str]:
    """Returns a function that converts a text by the first of the functions that accepts it. A text that none accepts
    is returned unchanged, and matches no object.
    """

    def found(text: str) -> str:
        for form in canonical:
            with contextlib.suppress(ValueError):
                return form(text)
        return text

    return found


def exact(member: str, description: str, canonical: Callable[[str], str] = str, choices: Sequence[str] = ()) -> Filter:
    """Makes a filter for a member that is a text."""
    return Filter(description, lambda body: [canonical(body[member])], canonical, tuple(choices))


def boolean(member: str) -> Filter:
    """Makes a filter for a member that is true or false."""
    return Filter(
        f"true or false: whether it is {member}.",
        lambda body: ["true" if body[member] else "false"],
        choices=("true", "false"),
    )
