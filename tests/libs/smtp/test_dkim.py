"""The canonical forms and the kinds of keys that signing and verifying share."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from dkim import canonicalization
from hypothesis import given
from hypothesis import strategies as st

from libs.smtp.dkim import ED25519_SHA256, RSA_SHA256, BodyHashes, algorithm_of, canonical_field

# Bodies of complete lines, with blanks wherever they may change the canonical form.
BODIES = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n"]), max_size=40).map(b"".join)


@given(BODIES, st.booleans(), st.lists(st.integers(0, 60), max_size=4))
def test_a_body_has_the_same_hash_as_in_dkimpy_however_it_is_divided(
    body: bytes, relaxed: bool, cuts: list[int]
) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(bounds)]
    form = canonicalization.Relaxed if relaxed else canonicalization.Simple
    whole = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    expected = hashlib.sha256(form.canonicalize_body(whole)).digest()
    assert BodyHashes(lambda: pieces).get(relaxed=relaxed, limit=None).digest == expected


@pytest.mark.parametrize(("relaxed", "expected"), [(True, b"subject:a b\r\n"), (False, b"Subject : a \t b \r\n")])
def test_a_field_has_both_canonical_forms(relaxed: bool, expected: bytes) -> None:
    assert canonical_field(b"Subject ", b" a \t b \r\n", relaxed=relaxed) == expected


def test_a_folded_field_is_one_line_when_it_is_relaxed() -> None:
    assert canonical_field(b"To", b" a@b.test,\r\n\tc@d.test\r\n", relaxed=True) == b"to:a@b.test, c@d.test\r\n"


def test_each_kind_of_key_has_one_signature_algorithm() -> None:
    rsa, ed25519 = generate_private_key(65537, 1024), Ed25519PrivateKey.generate()
    assert algorithm_of(rsa) == algorithm_of(rsa.public_key()) == RSA_SHA256
    assert algorithm_of(ed25519) == algorithm_of(ed25519.public_key()) == ED25519_SHA256
