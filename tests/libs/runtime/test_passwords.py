"""Password hashes of other systems: only certain schemes are accepted, and a hash matches only its password."""

from __future__ import annotations

import pytest

from libs.runtime.passwords import canonical_hash, decoy_of, hash_password, is_outdated, matches

# The vectors are those of https://www.akkadia.org/drepper/SHA-crypt.txt and of crypt_blowfish.
SHA512 = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
SHA512_ROUNDS = (
    "$6$rounds=10000$saltstringsaltst$"
    "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."
)
BCRYPT = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"


@pytest.mark.parametrize(
    ("password_hash", "password"), [(SHA512, b"Hello world!"), (SHA512_ROUNDS, b"Hello world!"), (BCRYPT, b"U*U")]
)
def test_a_hash_matches_only_its_password(password_hash: str, password: bytes) -> None:
    assert canonical_hash(password_hash) == password_hash
    assert is_outdated(password_hash)
    assert matches(password_hash, password)
    assert not matches(password_hash, password + b"x")
    assert not matches(password_hash, b"")
    decoy = decoy_of(password_hash)
    assert decoy is not None
    assert canonical_hash(decoy) == decoy
    assert decoy != password_hash
    assert not matches(decoy, password)


def test_our_own_hash_is_argon2id() -> None:
    password_hash = hash_password("pässword")
    assert canonical_hash(password_hash) == password_hash
    assert not is_outdated(password_hash)
    assert matches(password_hash, "pässword".encode())
    assert not matches(password_hash, b"other")
    assert decoy_of(password_hash) is None


def test_a_password_over_72_octets_is_compared_with_a_bcrypt_hash_without_an_error() -> None:
    password_hash = "$2b$04$Ro0CUfOqk6cXEKf3dyaM7OhSCvnwM9s4wIX9JeLapehKK5YdLxKcm"
    assert not matches(password_hash, b"x" * 200)


def test_the_scheme_prefix_of_dovecot_is_removed() -> None:
    assert canonical_hash("{SHA512-CRYPT}" + SHA512) == SHA512
    assert canonical_hash("{BLF-CRYPT}" + BCRYPT.replace("$2a$", "$2y$")) == BCRYPT.replace("$2a$", "$2y$")
    ours = hash_password(b"x")
    assert canonical_hash("{ARGON2ID}" + ours) == ours


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "{PLAIN}secret",
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
        SHA512[:-1],
        SHA512 + "x",
        SHA512.replace("$6$", "$6$rounds=9999999$"),
        SHA512.replace("$6$", "$6$rounds=999$"),
        BCRYPT.replace("$05$", "$15$"),
        BCRYPT.replace("$05$", "$03$"),
        BCRYPT + "\n",
        "$argon2i$v=19$m=19456,t=2,p=1$LaHH7/pTt+weEekoerUZOg$Lf1F7EQj6E8Ei1kB7j4/W32Dsq7Bm7aW7uLesneQBew",
        # These hashes need more memory, more passes or more parallelism than is allowed.
        "$argon2id$v=19$m=1048576,t=2,p=1$LaHH7/pTt+weEekoerUZOg$Lf1F7EQj6E8Ei1kB7j4/W32Dsq7Bm7aW7uLesneQBew",
        "$argon2id$v=19$m=19456,t=17,p=1$LaHH7/pTt+weEekoerUZOg$Lf1F7EQj6E8Ei1kB7j4/W32Dsq7Bm7aW7uLesneQBew",
        "$argon2id$v=19$m=19456,t=2,p=17$LaHH7/pTt+weEekoerUZOg$Lf1F7EQj6E8Ei1kB7j4/W32Dsq7Bm7aW7uLesneQBew",
        "$argon2id$v=19$m=7,t=2,p=1$LaHH7/pTt+weEekoerUZOg$Lf1F7EQj6E8Ei1kB7j4/W32Dsq7Bm7aW7uLesneQBew",
    ],
)
def test_other_hashes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a hash of an accepted kind"):
        canonical_hash(text)
