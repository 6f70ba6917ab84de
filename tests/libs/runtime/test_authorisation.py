"""A certificate identifies a service by the name that it contains."""

from __future__ import annotations

import pytest

from libs.runtime.authorisation import calling_service


@pytest.mark.parametrize(
    ("uris", "service"),
    [
        ((b"posthouse://relay",), "relay"),
        ((b"https://relay.example/", b"posthouse://relay"), "relay"),
        ((b"posthouse://relay", b"posthouse://relay"), "relay"),
        ((), None),
        ((b"https://relay",), None),
        ((b"posthouse://relay", b"posthouse://policy"), None),
    ],
)
def test_a_certificate_names_one_service_or_none(uris: tuple[bytes, ...], service: str | None) -> None:
    assert calling_service({"peer_uri": uris}) == service
    assert calling_service({"x509_subject_alternative_name": uris}) is None
