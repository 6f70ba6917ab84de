"""The extensions that a server offers in its answer to EHLO or LHLO (RFC 5321 4.1.1.1). This module is pure."""

from __future__ import annotations

from dataclasses import dataclass

from aiosmtplib.esmtp import parse_esmtp_extensions

from services.relay.model.outcome import Reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    pipelining: bool = False
    # The largest size of a message in octets. 0 means that no limit is known (RFC 1870 4).
    size: int = 0
    size_offered: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    chunking: bool = False
    starttls: bool = False
    # The mechanisms of AUTH in lower case.
    auth: tuple[str, ...] = ()

    @classmethod
    def of(cls, reply: Reply) -> Capabilities:
        text = reply.text.decode("ascii", "replace")
        offered, auth = parse_esmtp_extensions(text)
        limit = offered.get("size", "").strip()
        return cls(
            pipelining="pipelining" in offered,
            size=int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 19 else 0,
            size_offered="size" in offered,
            eight_bit="8bitmime" in offered,
            smtputf8="smtputf8" in offered,
            dsn="dsn" in offered,
            chunking="chunking" in offered,
            starttls="starttls" in offered,
            auth=tuple(dict.fromkeys(auth)),
        )
