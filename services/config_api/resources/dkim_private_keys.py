"""Makes private keys for DKIM, and reads private keys that other programs have written (RFC 6376, RFC 8463)."""

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
# Signatures of shorter keys are not accepted (RFC 8301 section 3.2). Longer keys do not fit into DNS answers.
_FEWEST_RSA_BITS = 1024
_MOST_RSA_BITS = 4096
_SEED_OCTETS = 32
_PUBLIC_OCTETS = 32


def make_private_key(algorithm: Algorithm) -> PrivateKey:
    if algorithm == ED25519_SHA256:
        return Ed25519PrivateKey.generate()
    return generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


def private_key_in(text: str) -> PrivateKey:
    """Returns the key from PEM, or from base64 in the form that rspamd uses for Ed25519 keys. Raises ValueError. The
    text of the error contains no part of the key.
    """
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
        raise ValueError("is not a readable private key in PEM") from None
    if not isinstance(key, PrivateKey):
        raise ValueError("must be an RSA or an Ed25519 key")
    return key


def _from_base64(text: str) -> Ed25519PrivateKey:
    """Reads a key in the form of rspamd: the seed of the private key, with or without the public key after it."""
    try:
        octets = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    seed, public = octets[:_SEED_OCTETS], octets[_SEED_OCTETS:]
    if len(seed) != _SEED_OCTETS or len(public) not in (0, _PUBLIC_OCTETS):
        raise ValueError("must be a private key in PEM, or the base64 of an Ed25519 key")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    if public and public != public_part(key):
        raise ValueError("has a public part that does not belong to it")
    return key


def pem_of(key: PrivateKey) -> str:
    """Returns the key as PKCS #8 without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def public_part(key: PrivateKey) -> bytes:
    """Returns the public key as it is in p= of the DNS record, before it is encoded in base64 (RFC 6376 section 3.6.1,
    RFC 8463 section 4).
    """
    if isinstance(key, RSAPrivateKey):
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
