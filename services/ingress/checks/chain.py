"""Validates ARC chains (RFC 8617) by the rules of dkimpy, with the hashes and the cryptography of this package. This
module is pure.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from dkim import ARC, CV_Fail, CV_Pass
from dkim.util import InvalidTagValueList, parse_tag_value

from libs.smtp.dkim import RSA_SHA256, BodyHashes
from services.ingress.checks import signatures
from services.ingress.checks.keys import Key, NoKey
from services.ingress.checks.signatures import MAX_FIELD_OCTETS, HeaderFields
from services.ingress.content_facts import ArcChain
from services.ingress.verdict import CheckResult

# The largest number of ARC sets in a message (RFC 8617 4.2.1).
MAX_INSTANCES = 50
_SIGNING = (b"arc-message-signature", b"arc-seal")
_ALL = (*_SIGNING, b"arc-authentication-results")
_NAME = re.compile(rb"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?").fullmatch

_quiet = logging.getLogger("posthouse.arc")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def key_names(fields: HeaderFields) -> list[str]:
    """Returns the names of all keys that validation may need."""
    names: dict[str, None] = {}
    for kind in _SIGNING:
        for number in fields.positions.get(kind, ()):
            value = fields.fields[number][2]
            if len(value) <= MAX_FIELD_OCTETS and (name := _key_name(value)):
                names[name] = None
    return list(names)[: 2 * MAX_INSTANCES]


def _key_name(value: bytes) -> str:
    try:
        tags = parse_tag_value(value)
    except InvalidTagValueList:
        return ""
    if not (_NAME(tags.get(b"d", b"")) and _NAME(tags.get(b"s", b""))):
        return ""
    return signatures.key_name(tags)


def validate(fields: HeaderFields, bodies: BodyHashes, keys: Mapping[str, Key | NoKey]) -> ArcChain:
    """Returns none, pass or fail, or temperror when the result depends on a key that could not be looked up. Never
    raises.
    """
    numbers = [number for kind in _ALL for number in fields.positions.get(kind, ())]
    if not numbers:
        return ArcChain(CheckResult.NONE, 0, b"")
    chain = _Chain(fields, bodies, keys)
    instances, _ = chain.sorted_arc_headers()
    too_long = any(
        len(fields.fields[number][2]) > MAX_FIELD_OCTETS
        for kind in _SIGNING
        for number in fields.positions.get(kind, ())
    )
    if not instances or instances > MAX_INSTANCES or len(numbers) > 3 * MAX_INSTANCES or too_long:
        return ArcChain(CheckResult.FAIL, min(instances, MAX_INSTANCES + 1), b"")
    try:
        outcome, sets, _ = chain.verify(dnsfunc=None)
    except Exception:  # noqa: BLE001 - dkimpy raises IndexError and the like for odd fields; a broken chain is a fail
        return ArcChain(CheckResult.FAIL, instances, b"")
    sealer = sets[0].get("as-domain", b"").lower() if sets else b""
    if outcome == CV_Pass:
        return ArcChain(CheckResult.PASS, instances, sealer)
    if chain.missing_answer and outcome == CV_Fail:
        return ArcChain(CheckResult.TEMPERROR, instances, sealer)
    return ArcChain(CheckResult.FAIL, instances, sealer)


class _Chain(ARC):  # type: ignore[misc]
    """dkimpy's validation of the chain with our fields, and with our verification of each signature."""

    def __init__(self, fields: HeaderFields, bodies: BodyHashes, keys: Mapping[str, Key | NoKey]) -> None:
        super().__init__(logger=_quiet)
        self._fields = fields
        self._bodies = bodies
        self._keys = keys
        self.headers = [(written, value) for _, written, value in fields.fields]
        # Whether a key could not be looked up.
        self.missing_answer = False

    def verify_sig(
        self, sig: dict[bytes, bytes], include_headers: list[bytes], sig_header: tuple[bytes, bytes], _dnsfunc: Any
    ) -> bool:
        tags = {name: b"".join(value.split()) if name in (b"b", b"bh") else value for name, value in sig.items()}
        name = _key_name(b"d=%b; s=%b" % (tags[b"d"], tags[b"s"]))
        key = self._keys.get(name, NoKey("no valid key name"))
        if isinstance(key, NoKey):
            self.missing_answer |= key.temporary
            return False
        if tags[b"a"] != RSA_SHA256.encode("ascii"):
            return False
        if sig_header[0].lower() == b"arc-seal":
            signed, bodies = self._sealed(include_headers, int(tags[b"i"])), None
        else:
            names = (name.strip().lower() for name in include_headers)
            signed, bodies = self._fields.select(names), self._bodies
        result, _ = signatures.check(tags, sig_header, signed, bodies, key)
        return result is CheckResult.PASS

    def _sealed(self, names: list[bytes], instance: int) -> list[tuple[bytes, bytes]]:
        """Returns the fields that a seal covers: all ARC sets up to its own, in order (RFC 8617 5.1.1)."""
        _, numbered = self.sorted_arc_headers()
        arc = [field for number, field in numbered if number <= instance]
        arc.reverse()
        return arc[: len(names)]
