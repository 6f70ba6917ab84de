"""Writes the trace fields that ingress adds at the top, and removes the fields that must not be passed on. This module
is pure.
"""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache

from libs.smtp import header
from libs.smtp.address import address_literal
from services.ingress.session import SessionFacts, Transaction

_NANOSECONDS = 1_000_000_000


@lru_cache(maxsize=8)
def _date(second: int) -> bytes:
    """Returns the date in the form of RFC 5322 3.3, in UTC."""
    return formatdate(second, localtime=False).replace("-0000", "+0000").encode("ascii")


def protocol_keyword(session: SessionFacts, *, smtputf8: bool) -> str:
    """Returns the value of `with` in Received (RFC 3848, RFC 6531 4.3)."""
    if not session.esmtp:
        return "SMTP"
    base = "UTF8SMTP" if smtputf8 else "ESMTP"
    return f"{base}{'S' if session.tls else ''}{'A' if session.account else ''}"


def received(session: SessionFacts, transaction: Transaction, submission_id: str, now: int) -> bytes:
    """Returns the Received field of this hop (RFC 5321 4.4). `now` is in Unix nanoseconds.

    The recipient is named only when there is exactly one (C42, C145), and only in ASCII. With UTF-8, our field would
    make the header need SMTPUTF8, although an alias may lead to a server without this extension (C59). The field
    contains no unchecked text of the client.
    """
    literal = address_literal(session.peer.client_address)
    profile = session.profile
    host = profile.hostname if profile is not None else "localhost"
    using = ""
    if session.tls is not None and session.tls.version:
        using = f"\t(using {session.tls.version} with cipher {session.tls.cipher})\r\n"
    keyword = protocol_keyword(session, smtputf8=transaction.parameters.smtputf8)
    recipient = b""
    if len(transaction.recipients) == 1:
        (only,) = transaction.recipients.values()
        if only.address.isascii():
            recipient = b"\r\n\tfor <%b>" % only.address
    return b"%b%b;\r\n\t%b\r\n" % (
        f"Received: from {session.helo_name} ({literal})\r\n{using}"
        f"\tby {host} with {keyword} id {submission_id}".encode(),
        recipient,
        _date(now // _NANOSECONDS),
    )


def without_forbidden(head: bytes, *, submission: bool) -> bytes:
    """Returns a header without Return-Path, which only final delivery may add, and without a quarantine mark that is
    not ours. For a submission, Bcc and Resent-Bcc are removed too (C145; RFC 5322 3.6.3, 3.6.6).
    """
    head = header.remove_named(header.remove_named(head, b"return-path"), b"x-posthouse-quarantine")
    return header.remove_named(header.remove_named(head, b"bcc"), b"resent-bcc") if submission else head


def completion(head: bytes, host: str, submission_id: str, now: int) -> tuple[bytes, bytes]:
    """Returns the fields that a submitted header lacks, and the header without the empty fields that they replace (RFC
    6409 8; C147).
    """
    added = []
    for name, value in (
        (b"Date", _date(now // _NANOSECONDS)),
        (b"Message-ID", f"<{submission_id}@{host}>".encode("ascii")),
    ):
        # `<>` counts as empty.
        if not any(given.strip(b"<> \t") for given in header.values(head, name)):
            head = header.remove_named(head, name)
            added.append(b"%b: %b\r\n" % (name, value))
    return b"".join(added), head
