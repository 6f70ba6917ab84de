"""Mail addresses in one canonical form: paths of MAIL and RCPT, mailboxes of a configuration, domains, HELO names.

Sources: RFC 5321 4.1.2 and 4.1.3 (paths, literals), RFC 6531 3.3 (UTF-8), RFC 5891 and UTS 46 (A-labels).
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import idna

from libs.smtp.reply import BAD_RECIPIENT_SYNTAX, BAD_SENDER_SYNTAX, UTF8_NOT_ALLOWED, CommandError, Reply
from libs.smtp.value import fast_value

# The largest number of octets without brackets and source route. RFC 5321 4.5.3.1.3 demands 256, and VERP and token
# addresses are longer (C55).
MAX_PATH_OCTETS: Final = 512
# RFC 1035 2.3.4: 255 octets on the wire are 253 in text without the root's dot.
MAX_DOMAIN_OCTETS: Final = 253
MAX_LABEL_OCTETS: Final = 63

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_CONTROL = r"\x00-\x1f\x7f"
# This range leaves out the C1 controls and the line and paragraph separators. RFC 6532 allows them, but other programs
# end lines at them.
_UTF8 = "\u00a0-\u2027\u202a-\U0010ffff"

# The pattern of nearly every address: a dot-string as the local part, and LDH labels, of which the last begins with a
# letter, as the domain. The local part and the domain are groups. The caller checks the lengths.
COMMON_MAILBOX: Final = (
    rf"([{_ATEXT}]++(?:\.[{_ATEXT}]++)*)"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)"
)
_COMMON_PATH = re.compile(rf"<{COMMON_MAILBOX}>(?: (.*))?".encode(), re.DOTALL).fullmatch
_COMMON_WIRE = re.compile(COMMON_MAILBOX.encode()).fullmatch

# Groups are repeated greedily in this module, and never possessively: before Python 3.11.5, a possessive group contains
# what its last repetition matched, even when this repetition failed.

# The next patterns find the end of a path. A quoted string may contain angle brackets and spaces.
_QUOTED = rf'"(?:[^"\\{_CONTROL}]++|\\[ -~])*"'
_BRACKETED = re.compile(rf'<((?:[^<>"\\{_CONTROL}]++|{_QUOTED})*)>'.encode()).match
_UNBRACKETED = re.compile(rf'((?:[^ <>"\\{_CONTROL}]++|{_QUOTED})+)'.encode()).match

_DOT_STRING = rf"[{_UTF8}{_ATEXT}]++(?:\.[{_UTF8}{_ATEXT}]++)*"
_QUOTED_STRING = rf'"((?:[ !#-\[\]-~{_UTF8}]++|\\[ -~])*)"'
_LOCAL_PART = re.compile(rf"(?:({_DOT_STRING})|{_QUOTED_STRING})(?=@|\Z)").match
_IS_DOT_STRING = re.compile(_DOT_STRING).fullmatch
_QUOTED_PAIR = re.compile(r"\\(.)")
_TO_ESCAPE = re.compile(r'(["\\])')

# RFC 5321 allows no underscore in a domain, but names with an underscore exist and get mail. Postfix and Exim accept
# them.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch
_HOST_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})+").fullmatch
_HELO_WORD = re.compile(r"[A-Za-z0-9_.:-]+").fullmatch


@fast_value(frozen=True, slots=True)
class Address:
    """A mailbox, the null path, or `postmaster` without a domain. Only the parsers of this package make it, in
    canonical form. `local` is the local part without quotes and escapes, in its own case. It is empty in the null path.
    `domain` has A-labels in lower case without a final dot, or is an address literal (`[192.0.2.1]`,
    `[IPv6:2001:db8::1]`). It is empty in the null path and in `postmaster` without a domain.
    """

    local: str
    domain: str

    @property
    def is_null(self) -> bool:
        """Whether it is the null reverse-path `<>`."""
        return not self.domain and not self.local

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the local part has characters beyond ASCII. The domain has A-labels and never has such characters
        (C59).
        """
        return not self.local.isascii()

    @property
    def literal(self) -> IPv4Address | IPv6Address | None:
        """Returns the IP address of an address literal, or None when the domain is a name."""
        if not self.domain.startswith("["):
            return None
        inside = self.domain[1:-1]
        return IPv6Address(inside[5:]) if inside.startswith("IPv6:") else IPv4Address(inside)

    def wire(self) -> bytes:
        """Returns the canonical form, for the `bytes` fields of the contracts and between the angle brackets of SMTP.
        The local part is quoted only if that is necessary (RFC 5321 4.1.2). The null path is empty.
        """
        return str(self).encode()

    def __str__(self) -> str:
        """Returns `wire` as text."""
        if not self.domain:
            return self.local
        return f"{quoted_local(self.local)}@{self.domain}"

    def local_key(self) -> str:
        """Returns the key by which local accounts and aliases are found, whatever the case of the local part is."""
        return f"{quoted_local(_lower(self.local))}@{self.domain}" if self.domain else _lower(self.local)

    def matching_key(self) -> str:
        """Returns the key for exact matches (C103), where the case of the local part matters, but not its quoting and
        composition.
        """
        if self.local.isascii():
            return str(self)
        return str(Address(unicodedata.normalize("NFC", self.local), self.domain))


NULL_PATH: Final = Address("", "")


@fast_value(frozen=True, slots=True)
class ParsedPath:
    """A path, and the text after it. `rest` has the parameters after the path, without outer blanks. `utf8` tells
    whether the path has octets over 127.
    """

    address: Address
    rest: bytes
    utf8: bool


class AddressError(CommandError):
    """A path is refused. `reply`, which is always permanent, is the answer (C24)."""


def parse_path(
    raw: bytes,
    *,
    smtputf8: bool,
    null_allowed: bool,
    postmaster_allowed: bool,
    lenient: bool = False,
) -> ParsedPath:
    """Reads the path after `MAIL FROM:` or `RCPT TO:`, and the text after it (RFC 5321 4.1.2, RFC 6531 3.3).

    With `null_allowed` the path is a reverse-path, whose faults are answered with 501 5.1.7. Without it the path is a
    forward-path, whose faults are answered with 501 5.1.3. A source route is checked and dropped (C52). Blanks before
    the path are accepted (F66), and with `lenient` (submission) also a path without angle brackets (C22). UTF-8 without
    `smtputf8` is answered with 553 5.6.7 (C60). Raises AddressError.
    """
    common = _COMMON_PATH(raw)
    if common is not None:
        local, domain, rest = common.groups(b"")
        if len(domain) <= MAX_DOMAIN_OCTETS and len(local) + len(domain) < MAX_PATH_OCTETS:
            return ParsedPath(Address(local.decode("ascii"), domain.decode("ascii").lower()), rest.strip(b" \t"), False)
    fault = BAD_SENDER_SYNTAX if null_allowed else BAD_RECIPIENT_SYNTAX
    inside, rest = _cut(raw, fault, lenient=lenient)
    if len(inside) > MAX_PATH_OCTETS and not inside.startswith(b"@"):
        raise _error(fault, "too long")
    try:
        text = inside.decode()
    except UnicodeDecodeError:
        raise _error(fault, "not UTF-8") from None
    utf8 = not text.isascii()
    if utf8 and not smtputf8:
        raise AddressError(UTF8_NOT_ALLOWED)
    try:
        address = _path(text)
    except ValueError as error:
        raise _error(fault, str(error)) from None
    if address.is_null and not null_allowed:
        raise _error(fault, "empty")
    if not address.domain and not address.is_null and not postmaster_allowed:
        raise _error(fault, "no domain")
    return ParsedPath(address, rest, utf8)


def parse_reverse_path(raw: bytes, *, smtputf8: bool, lenient: bool = False) -> ParsedPath:
    """Reads the path of MAIL with `parse_path`."""
    return parse_path(raw, smtputf8=smtputf8, null_allowed=True, postmaster_allowed=False, lenient=lenient)


def parse_forward_path(raw: bytes, *, smtputf8: bool, lenient: bool = False) -> ParsedPath:
    """Reads the path of RCPT with `parse_path`."""
    return parse_path(raw, smtputf8=smtputf8, null_allowed=False, postmaster_allowed=True, lenient=lenient)


def from_wire(raw: bytes) -> Address:
    """Reads the form of `Address.wire` from a `bytes` field of a contract. Raises ValueError for any other text."""
    common = _COMMON_WIRE(raw)
    if common is not None and len(common[2]) <= MAX_DOMAIN_OCTETS:
        return Address(common[1].decode("ascii"), common[2].decode("ascii").lower())
    if not raw:
        return NULL_PATH
    return _mailbox(raw.decode())


def parse_address(text: str) -> Address:
    """Reads the mailbox `user@domain` of a configuration. Raises ValueError, whose text tells the operator why."""
    try:
        octets = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("not an e-mail address: unpaired surrogate") from None
    if octets > MAX_PATH_OCTETS:
        raise ValueError(f"not an e-mail address: longer than {MAX_PATH_OCTETS} octets")
    try:
        address = _mailbox(text)
    except ValueError as error:
        raise ValueError(f"not an e-mail address: {error}") from None
    if not address.domain:
        raise ValueError("not an e-mail address: no domain")
    return address


def canonical_domain(text: str) -> str:
    """Returns `text` as A-labels in lower case without final dot (IDNA 2008 with UTS 46 mapping). Raises ValueError."""
    name = (text if text.isascii() else _a_labels(text)).removesuffix(".")
    if not name:
        raise ValueError("empty domain")
    if len(name) > MAX_DOMAIN_OCTETS:
        raise ValueError(f"domain longer than {MAX_DOMAIN_OCTETS} octets")
    if _DOMAIN(name) is None:
        raise ValueError(_domain_fault(name))
    if name.rpartition(".")[2].isdigit():
        # RFC 3696 2: no top-level domain is numeric. 192.0.2.1 without brackets must never become a host to which relay
        # connects.
        raise ValueError("domain ends in a number (address literals stand in brackets)")
    return name.lower()


def canonical_domain_or_literal(text: str) -> str:
    """Returns a domain as `canonical_domain` does, and also accepts `[192.0.2.1]` and `[IPv6:…]`. Raises ValueError."""
    return _literal(text) if text.startswith("[") else canonical_domain(text)


def is_fqdn(domain: str) -> bool:
    """Whether a canonical domain is fully qualified: it has at least two labels, and the last one is not a number. An
    address literal is not fully qualified.
    """
    if "." not in domain or len(domain) > MAX_DOMAIN_OCTETS or _DOMAIN(domain) is None:
        return False
    return not domain.rpartition(".")[2].isdigit()


def is_host_name(domain: str) -> bool:
    """Whether a canonical domain is a fully qualified host name: `is_fqdn` is True, and the domain has only letters,
    digits and hyphens.
    """
    return _HOST_NAME(domain) is not None and is_fqdn(domain)


class HeloKind(Enum):
    FQDN = "fqdn"
    # The name is one label, or an IP address without brackets. It is accepted unless a rule of policy refuses it.
    NON_FQDN = "non_fqdn"
    LITERAL = "literal"
    # The argument is not a name, and the command is answered with 501.
    MALFORMED = "malformed"


@fast_value(frozen=True, slots=True)
class HeloName:
    """The argument of HELO or EHLO. `name` is canonical like `Address.domain`. It is empty when the argument is
    malformed.
    """

    kind: HeloKind
    name: str


def parse_helo(raw: bytes) -> HeloName:
    """Reads the argument of HELO or EHLO (RFC 5321 4.1.1.1), without outer blanks. Never raises.

    An empty argument, two words, control characters, bytes over 127 (RFC 6531 3.7.1 demands A-labels) and an invalid
    address literal are malformed. An IPv6 literal without its tag is accepted, because some clients send it.
    """
    try:
        text = raw.strip(b" \t").decode("ascii")
    except UnicodeDecodeError:
        return _MALFORMED_HELO
    if text.startswith("["):
        tagged = f"[IPv6:{text[1:]}" if ":" in text and text[1:6].lower() != "ipv6:" else text
        try:
            return HeloName(HeloKind.LITERAL, _literal(tagged))
        except ValueError:
            return _MALFORMED_HELO
    if _HELO_WORD(text) is None or not text.strip("."):
        return _MALFORMED_HELO
    name = text.lower()
    if not name.endswith(".."):
        # One final dot stands for the root of the DNS. A text with two final dots is not a name, so its dots are kept.
        name = name.removesuffix(".")
    return HeloName(HeloKind.FQDN if is_fqdn(name) else HeloKind.NON_FQDN, name)


_MALFORMED_HELO: Final = HeloName(HeloKind.MALFORMED, "")


def address_literal(address: str) -> str:
    """Returns an IP address in canonical text as an address literal with brackets (RFC 5321 4.1.3)."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def quoted_local(local: str) -> str:
    """Returns the written form of a local part: unchanged if it is a dot-string, and otherwise a quoted string (RFC
    5321 4.1.2).
    """
    if _IS_DOT_STRING(local):
        return local
    escaped = _TO_ESCAPE.sub(r"\\\1", local)
    return f'"{escaped}"'


def _lower(local: str) -> str:
    if local.isascii():
        return local.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).lower())


def _error(fault: Reply, reason: str) -> AddressError:
    return AddressError(fault.with_text(f"{fault.text}: {reason}"))


def _cut(raw: bytes, fault: Reply, *, lenient: bool) -> tuple[bytes, bytes]:
    """Splits the argument into the inside of the angle brackets and the parameters after them. Raises AddressError."""
    start = len(raw) - len(raw.lstrip(b" \t"))
    bracketed = raw[start : start + 1] == b"<"
    if not bracketed and not lenient:
        raise _error(fault, "must stand in angle brackets")
    path = _BRACKETED(raw, start) if bracketed else _UNBRACKETED(raw, start)
    if path is None:
        raise _error(fault, "not a path")
    rest = raw[path.end() :]
    if rest and rest[0] not in b" \t":
        raise _error(fault, "unexpected text after the path")
    return path[1], rest.strip(b" \t")


def _path(text: str) -> Address:
    """Reads the inside of a path. Raises ValueError with the reason, which contains no text of the client."""
    if not text:
        return NULL_PATH
    if not text.startswith("@"):
        return _mailbox(text)
    route, colon, mailbox = text.partition(":")
    if not colon:
        raise ValueError("no local part")
    for hop in route.split(","):
        if not hop.startswith("@"):
            raise ValueError("bad source route")
        canonical_domain(hop[1:])
    if len(mailbox.encode()) > MAX_PATH_OCTETS:
        raise ValueError("too long")
    address = _mailbox(mailbox)
    if not address.domain:
        raise ValueError("no domain")
    return address


def _mailbox(text: str) -> Address:
    local_part = _LOCAL_PART(text)
    if local_part is None:
        raise ValueError("no local part" if text.startswith("@") or not text else "bad local part")
    plain, quoted = local_part.groups()
    local = plain if plain is not None else _QUOTED_PAIR.sub(r"\1", quoted)
    if local_part.end() == len(text):
        if local.lower() != "postmaster":
            raise ValueError("no domain")
        return Address(local, "")
    return Address(local, canonical_domain_or_literal(text[local_part.end() + 1 :]))


def _literal(text: str) -> str:
    """Returns the canonical form of an address literal (RFC 5321 4.1.3). An IPv4-mapped IPv6 address becomes IPv4."""
    if not text.endswith("]"):
        raise ValueError("bad address literal")
    inside = text[1:-1]
    try:
        if inside[:5].lower() != "ipv6:":
            return f"[{IPv4Address(inside)}]"
        if "%" in inside:
            raise ValueError("zone")
        address = IPv6Address(inside[5:])
    except ValueError:
        raise ValueError("bad address literal") from None
    mapped = address.ipv4_mapped
    return f"[{mapped}]" if mapped is not None else f"[IPv6:{address.compressed}]"


def _a_labels(name: str) -> str:
    try:
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
        labels = [label if label.isascii() else idna.alabel(label).decode("ascii") for label in mapped.split(".")]
    except (UnicodeError, IndexError):
        raise ValueError("domain is not an internationalised domain name") from None
    return ".".join(labels)


def _domain_fault(name: str) -> str:
    if ".." in name or name.startswith("."):
        return "empty label in domain"
    if any(len(label) > MAX_LABEL_OCTETS for label in name.split(".")):
        return f"label longer than {MAX_LABEL_OCTETS} octets in domain"
    return "domain is not made of letters, digits and hyphens"
