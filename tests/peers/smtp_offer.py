"""The extensions that the scripted SMTP peer offers, and its strict parsing of paths and parameters.

There is no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_PATH = re.compile(rb"(MAIL FROM|RCPT TO):<((?:\"(?:[^\"\\]|\\.)*\"|[^\">])*)>((?: [^ ]+)*)", re.IGNORECASE)
# Maps a parameter to the extension that allows it. Any other parameter is allowed by the extension of the same name.
_ALLOWED_BY: Mapping[str, str] = {
    "BODY": "8BITMIME",
    "RET": "DSN",
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """What the peer offers after EHLO and what it requires. Parameters of extensions that are not offered get 555."""

    hostname: str = "sink.test"
    lmtp: bool = False
    # When false, EHLO gets 502, as from servers older than ESMTP.
    ehlo: bool = True
    pipelining: bool = True
    eight_bit: bool = True
    smtputf8: bool = True
    chunking: bool = False
    dsn: bool = True
    enhanced_codes: bool = True
    # Recipients of one transaction above this number get 452 4.5.3. 0 means any number.
    max_recipients: int = 0
    # The limit in octets. With 0, SIZE is offered without a limit. With None, SIZE is not offered.
    size: int | None = 0
    # STARTTLS is offered when there is a certificate. When it is required, MAIL before TLS gets 530 5.7.0.
    starttls: bool = True
    tls_required: bool = False
    implicit_tls: bool = False
    # Maps login names to passwords. AUTH is offered when there are any.
    logins: Mapping[str, str] = field(default_factory=dict)
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN", "CRAM-MD5")
    auth_without_tls: bool = False
    auth_required: bool = False
    # Further lines of the EHLO reply, sent as they are.
    extra: tuple[str, ...] = ()

    def extensions(self, *, can_start_tls: bool, over_tls: bool) -> list[str]:
        """Returns the lines of an EHLO reply after the first."""
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
    """The argument of MAIL or RCPT: the address between the brackets, and the parameters as sent."""

    address: bytes
    parameters: tuple[bytes, ...]


NO_PATH = Path(b"", ())


def parse_path(command: bytes, line: bytes) -> Path | None:
    """Returns the path of a `MAIL FROM` or `RCPT TO` line, or None for wrong syntax (RFC 5321 section 4.1.2)."""
    match = _PATH.fullmatch(line)
    if match is None or match[1].upper() != command or (command == b"RCPT TO" and not match[2]):
        return None
    return Path(match[2], tuple(match[3].split()))


def refused_parameter(offer: Offer, extensions: Sequence[str], parameters: Sequence[bytes]) -> str:
    """Returns the refusal of the first parameter that is not offered, malformed or too large; otherwise ""."""
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
    """Returns DATA's content without dot-stuffing: a line that begins with a dot loses this dot (RFC 5321 4.5.2)."""
    return raw.removeprefix(b".").replace(b"\r\n.", b"\r\n")
