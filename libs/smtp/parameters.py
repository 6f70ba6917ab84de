"""The ESMTP parameters of MAIL and RCPT, and xtext (RFC 5321 4.1.2, 1870, 6152, 6531, 4954 5, 3461, 6533)."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from libs.smtp.address import Address, AddressError, ParsedPath, parse_forward_path, parse_reverse_path
from libs.smtp.envelope import Body, Notify, Ret
from libs.smtp.reply import BAD_ARGUMENT, MESSAGE_TOO_BIG, PARAMETER_UNKNOWN, UTF8_NOT_ALLOWED, CommandError
from libs.smtp.value import fast_value

# The limits of the encoded form (RFC 3461 4.4 and 4.2).
MAX_ENVID_OCTETS: Final = 100
MAX_ORCPT_OCTETS: Final = 500
# The largest number that fits into the contracts' unsigned and the databases' signed 64 bits.
MAX_SIZE: Final = 2**63 - 1

_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?").fullmatch
_DIGITS = re.compile(rb"[0-9]+").fullmatch
_XTEXT = re.compile(rb"(?:[!-*,-<>-~]++|\+[0-9A-Fa-f]{2})*").fullmatch
_HEXCHAR = re.compile(rb"\+([0-9A-Fa-f]{2})")
_PLAIN_XTEXT = re.compile(rb"[!-*,-<>-~]*").fullmatch
_PRINTABLE = re.compile(rb"[ -~]*").fullmatch
_ADDRESS_TYPE = re.compile(rb"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?").fullmatch
_EMBEDDED = re.compile(rb"\\x\{([^}]*)(\}?)")
_CODE_POINT = re.compile(rb"[0-9A-Fa-f]{2,6}").fullmatch


@fast_value(frozen=True, slots=True)
class Offered:
    """The extensions in the reply to EHLO of this session. After HELO no extension is offered. Parameters of other
    extensions are answered with 555. CHUNKING adds no parameter, because BINARYMIME is never offered.
    """

    size: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    auth: bool = False
    dsn: bool = False
    chunking: bool = False


NOTHING_OFFERED: Final = Offered()


@fast_value(frozen=True, slots=True)
class MailParameters:
    """The parameters of MAIL. `size` is in octets, and 0 without SIZE (RFC 1870 gives SIZE=0 no other meaning).
    `envelope_id` is ENVID as sent (xtext). `auth` is the decoded AUTH, empty for `<>`, and None without it. AUTH proves
    nothing, because any client may send it.
    """

    size: int = 0
    body: Body | None = None
    smtputf8: bool = False
    auth: bytes | None = None
    ret: Ret | None = None
    envelope_id: bytes = b""


@fast_value(frozen=True, slots=True)
class RcptParameters:
    """The parameters of RCPT. `notify` is in the order of the RFC, and empty without NOTIFY. `original_recipient` is
    ORCPT as `type;xtext` in ASCII.
    """

    notify: tuple[Notify, ...] = ()
    original_recipient: bytes = b""


NO_MAIL_PARAMETERS: Final = MailParameters()
NO_RCPT_PARAMETERS: Final = RcptParameters()


class ParameterError(CommandError):
    """A parameter is refused. `reply` is the answer: 501 5.5.4, 555 5.5.4 or 552 5.3.4."""


def parse_mail(raw: bytes, offered: Offered, *, lenient: bool = False) -> tuple[Address, MailParameters]:
    """Reads path and parameters after `MAIL FROM:`. Raises AddressError or ParameterError, both of them CommandError.

    Only the parameters tell whether the path may contain UTF-8, so this is checked after both are read.
    """
    path = parse_reverse_path(raw, smtputf8=True, lenient=lenient)
    parameters = parse_mail_parameters(path.rest, offered) if path.rest else NO_MAIL_PARAMETERS
    _check_utf8(path, smtputf8=parameters.smtputf8)
    return path.address, parameters


def parse_rcpt(
    raw: bytes, offered: Offered, *, smtputf8: bool, lenient: bool = False
) -> tuple[Address, RcptParameters]:
    """Reads path and parameters after `RCPT TO:`. Raises the errors of `parse_mail`. `smtputf8` means that MAIL of this
    transaction had the keyword SMTPUTF8.
    """
    path = parse_forward_path(raw, smtputf8=smtputf8, lenient=lenient)
    if not path.rest:
        return path.address, NO_RCPT_PARAMETERS
    return path.address, parse_rcpt_parameters(path.rest, offered, smtputf8=smtputf8)


def parse_mail_parameters(rest: bytes, offered: Offered) -> MailParameters:
    """Reads the parameters after the path of MAIL. Raises ParameterError (C26, C27, C28, C29)."""
    parameters = _split(rest)
    size = 0
    body: Body | None = None
    auth: bytes | None = None
    ret: Ret | None = None
    envelope_id = b""
    for name, text in parameters.items():
        if name == b"SIZE" and offered.size:
            size = _size(text)
        elif name == b"BODY" and offered.eight_bit_mime:
            body = _body(text)
        elif name == b"SMTPUTF8" and offered.smtputf8:
            if text is not None:
                _refuse("SMTPUTF8 takes no value")
        elif name == b"AUTH" and offered.auth:
            auth = _auth(text)
        elif name == b"RET" and offered.dsn:
            ret = _ret(text)
        elif name == b"ENVID" and offered.dsn:
            envelope_id = _envelope_id(text)
        else:
            raise ParameterError(PARAMETER_UNKNOWN)
    return MailParameters(size, body, b"SMTPUTF8" in parameters, auth, ret, envelope_id)


def parse_rcpt_parameters(rest: bytes, offered: Offered, *, smtputf8: bool = False) -> RcptParameters:
    """Reads the parameters after the path of RCPT. Raises ParameterError (C29)."""
    notify: tuple[Notify, ...] = ()
    original_recipient = b""
    for name, text in _split(rest, utf8=smtputf8).items():
        if name == b"NOTIFY" and offered.dsn:
            notify = _notify(text)
        elif name == b"ORCPT" and offered.dsn:
            original_recipient = _original_recipient(text)
        else:
            raise ParameterError(PARAMETER_UNKNOWN)
    return RcptParameters(notify, original_recipient)


def encode_xtext(text: bytes) -> bytes:
    """Returns `text` as xtext (RFC 3461 4): `+`, `=` and everything except graphic ASCII become `+HH`."""
    if _PLAIN_XTEXT(text):
        return text
    return b"".join(b"%c" % octet if 33 <= octet <= 126 and octet not in b"+=" else b"+%02X" % octet for octet in text)


def decode_xtext(encoded: bytes) -> bytes:
    """Returns the octets of xtext. Hexadecimal digits in lower case are accepted too. Raises ValueError."""
    if _XTEXT(encoded) is None:
        raise ValueError("not xtext")
    return _HEXCHAR.sub(lambda match: bytes((int(match[1], 16),)), encoded)


def decode_original_recipient(original_recipient: bytes) -> tuple[str, str]:
    """Returns the address type in lower case, and the address, of an ORCPT that was accepted. Raises ValueError.

    In an address of the type `utf-8`, `\\x{…}` (RFC 6533) is decoded too.
    """
    address_type, semicolon, encoded = original_recipient.partition(b";")
    if not semicolon or _ADDRESS_TYPE(address_type) is None:
        raise ValueError("no address type")
    kind = address_type.decode("ascii").lower()
    octets = decode_xtext(encoded)
    if _PRINTABLE(octets) is None:
        raise ValueError("not printable ASCII")
    text = octets.decode("ascii")
    return kind, _unembedded(text.encode()) if kind == "utf-8" else text


def _check_utf8(path: ParsedPath, *, smtputf8: bool) -> None:
    if path.utf8 and not smtputf8:
        raise AddressError(UTF8_NOT_ALLOWED)


def _refuse(reason: str) -> NoReturn:
    raise ParameterError(BAD_ARGUMENT.with_text(reason))


def _split(rest: bytes, *, utf8: bool = False) -> dict[bytes, bytes | None]:
    """Returns the value of each keyword in upper case. With `utf8` a value may have octets over 127, which its parser
    checks.
    """
    parameters: dict[bytes, bytes | None] = {}
    for word in rest.split(b" "):
        if not word:
            continue
        parameter = _PARAMETER(word)
        if parameter is None or (not utf8 and not word.isascii()):
            _refuse("Bad parameter syntax")
        name = parameter[1].upper()
        if name in parameters:
            _refuse("Parameter given twice")
        parameters[name] = parameter[2]
    return parameters


def _size(value: bytes | None) -> int:
    if value is None or _DIGITS(value) is None:
        _refuse("SIZE must be a number")
    digits = value.lstrip(b"0")
    # The length is checked first, because int() of a long number is slow, and fails above 4,300 digits.
    if len(digits) > len(str(MAX_SIZE)) or int(digits or b"0") > MAX_SIZE:
        raise ParameterError(MESSAGE_TOO_BIG)
    return int(digits or b"0")


def _body(value: bytes | None) -> Body:
    kind = (value or b"").upper()
    if kind == b"BINARYMIME":
        # BINARYMIME belongs to an extension that is not offered (RFC 3030 2), so it is answered with 555, and not with
        # 501 as an unknown value is.
        raise ParameterError(PARAMETER_UNKNOWN)
    if kind == b"8BITMIME":
        return Body.EIGHT_BIT_MIME
    if kind != b"7BIT":
        _refuse("BODY must be 7BIT or 8BITMIME")
    return Body.SEVEN_BIT


def _auth(value: bytes | None) -> bytes:
    if value == b"<>":
        return b""
    return _printable_xtext(value, "AUTH")


def _ret(value: bytes | None) -> Ret:
    kind = (value or b"").upper()
    if kind not in (b"FULL", b"HDRS"):
        _refuse("RET must be FULL or HDRS")
    return Ret(kind.decode("ascii"))


def _envelope_id(value: bytes | None) -> bytes:
    _printable_xtext(value, "ENVID")
    if value is None or len(value) > MAX_ENVID_OCTETS:
        _refuse(f"ENVID must not be longer than {MAX_ENVID_OCTETS} characters")
    return _upper_hex(value)


def _notify(value: bytes | None) -> tuple[Notify, ...]:
    words = (value or b"").decode("latin-1").upper().split(",")
    if any(word not in Notify.__members__ for word in words):
        _refuse("NOTIFY must be NEVER, or any of SUCCESS, FAILURE, DELAY")
    if "NEVER" in words and len(words) > 1:
        _refuse("NOTIFY=NEVER stands alone")
    return tuple(notify for notify in Notify if notify.value in words)


def _original_recipient(value: bytes | None) -> bytes:
    """Checks ORCPT and returns it in ASCII. Its address may be any text, even a bare local name (C29)."""
    address_type, semicolon, encoded = (value or b"").partition(b";")
    # xtext may be empty (RFC 3461 4). An address of the type utf-8 must not be empty (RFC 6533 3).
    missing = not encoded and address_type.lower() == b"utf-8"
    if not semicolon or missing or _ADDRESS_TYPE(address_type) is None:
        _refuse("ORCPT must be an address type, a semicolon and an address")
    if not encoded.isascii():
        encoded = _embedded(address_type, encoded)
    if len(address_type) + 1 + len(encoded) > MAX_ORCPT_OCTETS:
        _refuse(f"ORCPT must not be longer than {MAX_ORCPT_OCTETS} characters")
    accepted = address_type + b";" + encoded
    try:
        decode_original_recipient(accepted)
    except ValueError:
        _refuse("ORCPT must be xtext of a printable address")
    return _upper_hex(accepted)


def _upper_hex(encoded: bytes) -> bytes:
    """Returns hexadecimal digits in upper case, the only form in RFC 3461, which the next hop may demand."""
    return _HEXCHAR.sub(lambda match: match[0].upper(), encoded) if b"+" in encoded else encoded


def _embedded(address_type: bytes, encoded: bytes) -> bytes:
    """Returns UTF-8 octets in the ASCII form of RFC 6533, with the same meaning. Only the type utf-8 may have them."""
    if address_type.lower() != b"utf-8":
        _refuse("ORCPT must be ASCII")
    try:
        text = encoded.decode()
    except UnicodeDecodeError:
        _refuse("ORCPT is not UTF-8")
    return "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in text).encode("ascii")


def _unembedded(encoded: bytes) -> str:
    def character(match: re.Match[bytes]) -> bytes:
        if _CODE_POINT(match[1]) is None or not match[2]:
            raise ValueError("not a code point")
        code_point = int(match[1], 16)
        if code_point > 0x10FFFF or not chr(code_point).isprintable():
            raise ValueError("not a printable character")
        return chr(code_point).encode()

    if b"\\" in _EMBEDDED.sub(b"", encoded):
        # A backslash may only begin an embedded character (RFC 6533 3).
        raise ValueError("not an embedded character")
    return _EMBEDDED.sub(character, encoded).decode()


def _printable_xtext(value: bytes | None, name: str) -> bytes:
    try:
        decoded = decode_xtext(value or b"")
    except ValueError:
        _refuse(f"{name} must be xtext")
    if not decoded or _PRINTABLE(decoded) is None:
        _refuse(f"{name} must stand for printable ASCII")
    return decoded


def utf8_xtext(address: str) -> str:
    """Returns an address in ASCII, as `utf-8-addr-xtext` of RFC 6533 section 3: all characters but plain ones become
    \\x{HEX}.
    """
    return re.sub(r"[^!-*,-<>-\[\]-~]", lambda match: f"\\x{{{ord(match[0]):X}}}", address)
