"""Authentication-Results (RFC 8601): writes our field, and removes forged fields that have our id.
This module is pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from libs.smtp import header
from services.ingress.content_facts import ContentFacts, DkimSignature
from services.ingress.verdict import AuthenticationResult, CheckResult

# The token of RFC 2045 5.1, without the characters that the field itself uses.
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+").fullmatch
_MAILBOX_OR_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+./=?^_`{|}~-]*@?[A-Za-z0-9.-]+").fullmatch
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f-\xff]")
_COMMENT_UNSAFE = re.compile(r"[^ -'*-\[\]-~]")


def of_content_facts(
    content_facts: ContentFacts, known: Iterable[AuthenticationResult]
) -> tuple[AuthenticationResult, ...]:
    """Returns the results from policy, and our own for the methods that policy did not mention."""
    envelope_results = tuple(known)
    methods = {result.method for result in envelope_results}
    added: list[AuthenticationResult] = []
    if content_facts.dkim is not None and "dkim" not in methods:
        added += [_dkim(signature) for signature in content_facts.dkim]
        if not content_facts.dkim:
            added.append(AuthenticationResult("dkim", CheckResult.NONE, "message not signed"))
    if content_facts.arc is not None and "arc" not in methods:
        sealer = (("header", "d", content_facts.arc.sealer_domain),) if content_facts.arc.sealer_domain else ()
        added.append(AuthenticationResult("arc", content_facts.arc.result, properties=sealer))
    return (*envelope_results, *added)


def _dkim(signature: DkimSignature) -> AuthenticationResult:
    """Returns the result of a signature, with properties that tell the signature from others (RFC 8601 2.7.1, RFC
    6008).
    """
    named = (
        ("header", "d", signature.domain),
        ("header", "s", signature.selector),
        ("header", "a", signature.algorithm.encode("ascii", "replace")),
        ("header", "b", signature.signature_prefix),
    )
    return AuthenticationResult("dkim", signature.result, signature.reason, tuple(each for each in named if each[2]))


def field(authserv_id: str, results: Iterable[AuthenticationResult]) -> bytes:
    """Returns the whole field, with one line for each result."""
    lines = [f"Authentication-Results: {authserv_id}".encode("ascii")]
    lines += [_line(result) for result in results]
    return b";\r\n\t".join(lines) + b"\r\n"


def _line(result: AuthenticationResult) -> bytes:
    parts = [f"{result.method}={result.result.name.lower()}".encode("ascii")]
    if result.reason:
        parts.append(b"(" + _COMMENT_UNSAFE.sub(" ", result.reason)[:200].encode("ascii") + b")")
    parts += [f"{kind}.{name}=".encode("ascii") + _value(value) for kind, name, value in result.properties]
    return b" ".join(parts)


def _value(value: bytes) -> bytes:
    """Returns a pvalue (RFC 8601 2.2): unchanged if that is allowed, otherwise as a quoted string without characters
    that could end it (C38).
    """
    if _TOKEN(value) or _MAILBOX_OR_TOKEN(value):
        return value
    escaped = _UNSAFE.sub(b"?", value)[:500].replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + escaped + b'"'


def quarantine_field(reasons: Iterable[str]) -> bytes:
    """Returns the mark for a quarantined message. `reasons` are names of rules."""
    return f"X-Posthouse-Quarantine: {', '.join(reasons)}\r\n".encode("ascii")


def without_forged(head: bytes, authserv_id: str) -> bytes:
    """Returns the header without Authentication-Results fields that claim our id, or whose id cannot be read (RFC 8601
    5; C100).
    """
    if not header.count(head, b"authentication-results"):
        return head
    ours = authserv_id.lower().encode("ascii")
    return header.remove(
        head, lambda one: one.name == b"authentication-results" and _claimed_id(one.value) in (ours, b"")
    )


def _claimed_id(value: bytes) -> bytes:
    """Returns the authserv-id of a field's value in lower case, without comments, blanks and version. The result is
    empty when it cannot be read; then the field might claim our id.
    """
    position, depth = 0, 0
    while position < len(value):
        char = value[position : position + 1]
        if char == b"\\" and depth:
            position += 1
        elif char == b"(":
            depth += 1
        elif char == b")" and depth:
            depth -= 1
        elif depth == 0 and char not in b" \t\r\n":
            break
        position += 1
    rest = value[position:]
    if rest.startswith(b'"'):
        quoted = re.match(rb'"((?:[^"\\]|\\.)*)"', rest, re.DOTALL)
        return re.sub(rb"\\(.)", rb"\1", quoted[1]).lower().rstrip(b".") if quoted else b""
    authserv_id = re.match(rb"[^ \t\r\n;()/=]+", rest)
    return authserv_id[0].lower().rstrip(b".") if authserv_id else b""
