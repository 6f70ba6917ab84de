"""Adds DKIM signatures to messages of our own users (RFC 6376, RFC 8463), as the last change before sending."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import textwrap
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache

import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from libs.smtp.dkim import BodyHashes, algorithm_of, canonical_field
from libs.smtp.header import Field, fields, from_mailboxes, split
from services.relay.configuration.model import Configuration, DkimKey
from services.relay.model.attempt import OutgoingMessage

log = structlog.get_logger(__name__)

# Each of these fields is signed once more than it occurs, so that nobody can add another one (RFC 6376 8.15).
_SEALED = (
    b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"mime-version", b"content-type",
    b"content-transfer-encoding",
)  # fmt: skip
_SIGNED = (
    b"sender", b"in-reply-to", b"references", b"list-id", b"list-post", b"list-help", b"list-subscribe",
    b"list-unsubscribe", b"list-unsubscribe-post", b"list-owner", b"list-archive",
)  # fmt: skip
_LINE_WIDTH = 72
# Content with more octets than this is hashed in a thread, because hashing would block the event loop for too long.
_IN_THREAD = 262_144
_KEPT = 1000


class Signer:
    """Signs messages. There is one in each process. A message that goes to many destinations is signed once."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        """`wall_clock` returns seconds since 1970."""
        self._wall_clock = wall_clock
        self._made: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    async def signed(self, configuration: Configuration, message: OutgoingMessage) -> bytes:
        """Returns the content, and in front of it a signature for each key of the author's domain, if the message may
        be signed.

        A message is signed only if its sender may use the domain. Mail from outside can claim to be from that domain,
        and may pass through here to a mailbox or by an alias. Such mail must not get a valid signature.
        """
        if not configuration.dkim_keys or not (message.account_login or message.authorized):
            return message.content
        known = self._made.get((message.queue_id, configuration.revision))
        if known is not None:
            return known + message.content
        keys = _keys_of_author(configuration, message.content)
        if not keys:
            return message.content
        now = int(self._wall_clock())
        if len(message.content) > _IN_THREAD:
            made = await asyncio.to_thread(signatures, message.content, keys, now)
        else:
            made = signatures(message.content, keys, now)
        self._made[message.queue_id, configuration.revision] = made
        if len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return made + message.content


def signatures(content: bytes, keys: Sequence[DkimKey], now: int) -> bytes:
    """Returns a DKIM-Signature field for each key, with its CRLF. `now` is in seconds since 1970.

    A key that cannot be used is logged and left out, and the mail is sent without its signature.
    """
    header, body = split(content)
    in_header = list(fields(header))
    digest = BodyHashes(lambda: (body,)).get(relaxed=True, limit=None).digest
    body_hash = base64.b64encode(digest).decode("ascii")
    made = b""
    for key in keys:
        try:
            made += _signature(in_header, body_hash, key, now)
        except (ValueError, TypeError) as error:
            log.error("dkim_key_unusable", domain=key.domain, selector=key.selector, reason=type(error).__name__)
    return made


def _keys_of_author(configuration: Configuration, content: bytes) -> Sequence[DkimKey]:
    """Returns the keys of the domain in the From header, if that header names exactly one domain."""
    domains = {address.domain for address in from_mailboxes(split(content)[0]).addresses}
    return configuration.dkim_keys.get(domains.pop(), ()) if len(domains) == 1 else ()


def _signature(in_header: Sequence[Field], body_hash: str, key: DkimKey, now: int) -> bytes:
    chosen, names = _chosen(in_header)
    tags = [
        "v=1",
        f"a={key.algorithm}",
        "c=relaxed/relaxed",
        f"d={key.domain}",
        f"s={key.selector}",
        f"t={now}",
        f"bh={body_hash}",
        f"h={names}",
    ]
    lines = [line for tag in tags for line in _folded(f"{tag};")]
    text = "DKIM-Signature: " + "\r\n\t".join(lines) + "\r\n\tb="
    signed = b"".join(canonical_field(field.name, field.raw.partition(b":")[2], relaxed=True) for field in chosen)
    own_value = text.partition(":")[2].encode("ascii")
    signed += canonical_field(b"dkim-signature", own_value, relaxed=True).removesuffix(b"\r\n")
    value = base64.b64encode(_signed(key, signed)).decode("ascii")
    return (text + "\r\n\t".join(textwrap.wrap(value, _LINE_WIDTH)) + "\r\n").encode("ascii")


def _folded(text: str) -> list[str]:
    """Returns the lines of a tag, which is folded at blanks only. The names in h= have blanks after their colons, where
    folding is allowed (RFC 6376 3.5).
    """
    return textwrap.wrap(text, _LINE_WIDTH, break_long_words=False, break_on_hyphens=False)


def _chosen(in_header: Sequence[Field]) -> tuple[list[Field], str]:
    """Returns the fields to sign, where fields of one name are taken from the bottom up (RFC 6376 5.4.2), and the list
    for the h= tag.
    """
    chosen: list[Field] = []
    names: list[str] = []
    for name in _SEALED + _SIGNED:
        found = [field for field in reversed(in_header) if field.name == name]
        chosen += found
        names += [name.decode("ascii")] * (len(found) + (name in _SEALED))
    return chosen, ": ".join(names)


def _signed(key: DkimKey, data: bytes) -> bytes:
    """Returns the signature of the data. Raises ValueError or TypeError when the private key is not valid, or does not
    match its algorithm.
    """
    private = _private_key(key.private_key)
    if algorithm_of(private) != key.algorithm:
        raise ValueError("the key is not of the kind that its algorithm needs")
    if isinstance(private, RSAPrivateKey):
        return private.sign(data, PKCS1v15(), hashes.SHA256())
    # RFC 8463 3: the hash of the header is signed, and not the header itself.
    return private.sign(hashlib.sha256(data).digest())


@lru_cache(maxsize=256)
def _private_key(pem: bytes) -> RSAPrivateKey | Ed25519PrivateKey:
    """Reads the key. Raises ValueError or TypeError when it is not valid."""
    key = load_pem_private_key(pem, password=None)
    if isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        return key
    raise ValueError("DKIM has no algorithm for this kind of key")
