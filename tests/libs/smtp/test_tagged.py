"""The addresses without a tag to which an address with a tag (user+tag@domain) may belong."""

from __future__ import annotations

import pytest

from libs.smtp.tagged import untagged


@pytest.mark.parametrize(
    ("key", "delimiter", "bases"),
    [
        ("user+tag@example.com", "+", ["user@example.com"]),
        ("user+a+b@example.com", "+", ["user+a@example.com", "user@example.com"]),
        ("first.last.tag@example.com", ".", ["first.last@example.com", "first@example.com"]),
        ("user-tag@ex-ample.com", "-", ["user@ex-ample.com"]),
        ("user+@example.com", "+", ["user@example.com"]),
        ("+tag@example.com", "+", []),
        ("user@example.com", "+", []),
        ("user+tag@example.com", "", []),
        ('"user+tag here"@example.com', "+", []),
        ("postmaster+x", "+", []),
    ],
)
def test_the_untagged_forms_of_an_address_are_found(key: str, delimiter: str, bases: list[str]) -> None:
    assert list(untagged(key, delimiter)) == bases
