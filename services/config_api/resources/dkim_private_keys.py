"""Private keys of DKIM: making one, and reading those that other programs made (RFC 6376, RFC 8463)."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from libs.smtp.dkim import ED25519_SHA256, Algorithm

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

_RSA_BITS = 2048
# Signatures by shorter keys count for nothing (RFC 8301 section 3.2). Longer ones do not fit into what DNS answers.
_FEWEST_RSA_BITS = 1024
_MOST_RSA_BITS = 4096
_SEED_OCTETS = 32
_PUBLIC_OCTETS = 32


def make_private_key(algorithm: Algorithm) -> PrivateKey:
    if algorithm == ED25519_SHA256:
        return Ed25519PrivateKey.generate()
    return generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


def private_key_in(text: str) -> PrivateKey:
    """The key in PEM, or in base64 as rspamd writes Ed25519 keys. Raises ValueError, which holds no word of it."""
    key = _from_pem(text) if "-----BEGIN" in text else _from_base64(text)
    if isinstance(key, RSAPrivateKey) and not _FEWEST_RSA_BITS <= key.key_size <= _MOST_RSA_BITS:
        raise ValueError(f"must have {_FEWEST_RSA_BITS} to {_MOST_RSA_BITS} bits, if it is an RSA key")
    return key


def _from_pem(text: str) -> PrivateKey:
    try:
        key = load_pem_private_key(text.encode("utf-8"), password=None)
    except TypeError:
        raise ValueError("must not be protected by a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is no private key in PEM that can be read") from None
    if not isinstance(key, PrivateKey):
        raise ValueError("must be an RSA or an Ed25519 key")
    return key


def _from_base64(text: str) -> Ed25519PrivateKey:
    """rspamd writes the seed, with the public key behind it or without."""
    try:
        octets = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    seed, public = octets[:_SEED_OCTETS], octets[_SEED_OCTETS:]
    if len(seed) != _SEED_OCTETS or len(public) not in (0, _PUBLIC_OCTETS):
        raise ValueError("must be a private key in PEM, or the base64 of an Ed25519 key")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    if public and public != public_part(key):
        raise ValueError("has a public part that is not its own")
    return key


def pem_of(key: PrivateKey) -> str:
    """PKCS #8 without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def public_part(key: PrivateKey) -> bytes:
    """What p= holds in the record, before base64 (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
    if isinstance(key, RSAPrivateKey):
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
