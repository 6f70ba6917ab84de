"""Signs test messages. dkimpy makes the RSA signatures. It would need PyNaCl for Ed25519, so this module makes those
itself, as RFC 8463 says.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

DOMAIN = "signer.example"
NOW = 1_800_000_000
MESSAGE = (
    b"From: Joe SixPack <joe@signer.example>\r\nTo: Suzie Q <suzie@shopping.example>\r\n"
    b"Subject: Is dinner   ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\r\n"
    b"Hi.\r\n\r\nWe lost the game.   Are you\thungry yet?  \r\n\r\nJoe.\r\n\r\n\r\n"
)


@dataclass(frozen=True)
class SigningKey:
    """A private key, and the DNS record of its public key."""

    pem: bytes
    record: str
    raw: ed25519.Ed25519PrivateKey | None = None


def rsa_key(bits: int = 2048, extra: str = "") -> SigningKey:
    made = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = made.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return SigningKey(pem, f"v=DKIM1; k=rsa; {extra}p={base64.b64encode(public).decode()}")


def ed25519_key() -> SigningKey:
    made = ed25519.Ed25519PrivateKey.generate()
    public = made.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return SigningKey(b"", f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode()}", made)


def sign(
    message: bytes,
    key: SigningKey,
    *,
    canonical: str = "relaxed/relaxed",
    selector: str = "s1",
    domain: str = DOMAIN,
    length: bool = False,
    headers: tuple[bytes, ...] = (b"From", b"To", b"Subject"),
) -> bytes:
    """Returns the message with an RSA signature above it."""
    head, body = (part.encode() for part in canonical.split("/"))
    field = dkim.sign(
        message,
        selector.encode(),
        domain.encode(),
        key.pem,
        canonicalize=(head, body),
        include_headers=list(headers),
        length=length,
        linesep=b"\r\n",
    )
    return bytes(field) + message


def sign_by_hand(message: bytes, key: SigningKey, tags: str = "", selector: str = "e1", domain: str = DOMAIN) -> bytes:
    """Returns the message with an Ed25519 signature (relaxed/relaxed) over From.

    `tags` is the text of further tags in the signature, for example `x=1; `.
    """
    assert key.raw is not None
    head, _, body = message.partition(b"\r\n\r\n")
    canonical = b"\r\n".join(_compressed(line) for line in body.split(b"\r\n")).rstrip(b"\r\n") + b"\r\n"
    body_hash = base64.b64encode(hashlib.sha256(canonical).digest()).decode()
    value = (
        f"v=1; a=ed25519-sha256; c=relaxed/relaxed; d={domain}; s={selector}; {tags}h=from; bh={body_hash}; b="
    ).encode()
    author = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"from:"))
    hashed = b"from:" + _compressed(author[5:]).strip() + b"\r\n" + b"dkim-signature:" + value
    signature = base64.b64encode(key.raw.sign(hashlib.sha256(hashed).digest()))
    return b"DKIM-Signature: " + value + signature + b"\r\n" + message


def _compressed(line: bytes) -> bytes:
    words = line.replace(b"\t", b" ")
    while b"  " in words:
        words = words.replace(b"  ", b" ")
    return words.rstrip(b" ")
