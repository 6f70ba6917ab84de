"""What the scripted SMTP peer offers, and what a strict server makes of paths and parameters. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_PATH = re.compile(rb"(MAIL FROM|RCPT TO):<((?:\"(?:[^\"\\]|\\.)*\"|[^\">])*)>((?: [^ ]+)*)", re.IGNORECASE)
# A parameter and the extension that allows it; any other is allowed by the extension of its own name.
_ALLOWED_BY: Mapping[str, str] = {
    "BODY": "8BITMIME",
    "RET": "DSN",
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """What the peer offers after EHLO, and asks for. Parameters of extensions that are not offered get 555."""

    hostname: str = "sink.test"
    lmtp: bool = False
    # False: EHLO gets 502, as from servers before ESMTP.
    ehlo: bool = True
    pipelining: bool = True
    eight_bit: bool = True
    smtputf8: bool = True
    chunking: bool = False
    dsn: bool = True
    enhanced_codes: bool = True
    # More recipients of one transaction get 452 4.5.3; 0 takes any number.
    max_recipients: int = 0
    # Octets; 0 offers SIZE without a limit, None does not offer it.
    size: int | None = 0
    # Offered when there is a certificate; required: MAIL gets 530 5.7.0 before TLS.
    starttls: bool = True
    tls_required: bool = False
    implicit_tls: bool = False
    # Login names and passwords; AUTH is offered when there are any.
    logins: Mapping[str, str] = field(default_factory=dict)
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN", "CRAM-MD5")
    auth_without_tls: bool = False
    auth_required: bool = False
    # More EHLO lines, as they are.
    extra: tuple[str, ...] = ()

    def extensions(self, *, can_start_tls: bool, over_tls: bool) -> list[str]:
        """The lines of an EHLO reply after the first."""
        switches = (
            (self.pipelining, "PIPELINING"),
            (self.eight_bit, "8BITMIME"),
            (self.smtputf8, "SMTPUTF8"),
            (self.chunking, "CHUNKING"),
            (self.dsn, "DSN"),
            (self.enhanced_codes, "ENHANCEDSTATUSCODES"),
            (self.size is not None, f"SIZE {self.size}" if self.size else "SIZE"),
            (self.starttls and can_start_tls, "STARTTLS"),
            (self.logins and (over_tls or self.auth_without_tls), f"AUTH {' '.join(self.mechanisms)}"),
        )
        return [*(line for offered, line in switches if offered), *self.extra]


class Path(NamedTuple):
    """What MAIL and RCPT carry: the address between the brackets, and the parameters as sent."""

    address: bytes
    parameters: tuple[bytes, ...]


NO_PATH = Path(b"", ())


def parse_path(command: bytes, line: bytes) -> Path | None:
    """The path of a `MAIL FROM` or `RCPT TO` line; None when it is not written as RFC 5321 section 4.1.2 has it."""
    match = _PATH.fullmatch(line)
    if match is None or match[1].upper() != command or (command == b"RCPT TO" and not match[2]):
        return None
    return Path(match[2], tuple(match[3].split()))


def refused_parameter(offer: Offer, extensions: Sequence[str], parameters: Sequence[bytes]) -> str:
    """The reply to the first parameter that was not offered or is malformed; "" when all are fine."""
    offered = {extension.partition(" ")[0] for extension in extensions}
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        keyword = name.decode("ascii", "replace").upper()
        if _ALLOWED_BY.get(keyword, keyword) not in offered:
            return "555 5.5.4 Parameter not offered"
        if keyword == "SIZE" and not value.isdigit():
            return "501 5.5.4 SIZE wants octets"
        if keyword == "SIZE" and offer.size and int(value) > offer.size:
            return "552 5.3.4 Too big"
    return ""


def unstuffed(raw: bytes) -> bytes:
    """DATA's content without the dots that RFC 5321 section 4.5.2 adds: one from each line that begins with one."""
    return raw.removeprefix(b".").replace(b"\r\n.", b"\r\n")
