"""The types of values in settings. Values are strict, checked, and converted to one canonical form."""

from __future__ import annotations

import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import idna
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from libs.runtime.passwords import LONGEST_HASH, canonical_hash
from libs.smtp.address import Address, canonical_domain, is_host_name, parse_address
from libs.smtp.network import canonical_ip
from services.config_api.problems import AT


class Model(BaseModel):
    """The base class of models of a body or of its parts. No value is converted to another type, and unknown members
    are refused (C149).
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=False)

    @classmethod
    def derived(cls, body: Mapping[str, Any], was_set: Container[str]) -> Mapping[str, Any]:  # noqa: ARG003
        """Returns the defaults that follow from other members. `body` has every member, and `was_set` has the names of
        the members that are set.
        """
        return {}


def fault(code: str, text: str, *at: str | int) -> PydanticCustomError:
    """Makes an error for a field in our own words. `text` never contains a value of the client. `at` is the path from
    the validated value to the faulty member.
    """
    return PydanticCustomError(code, text, {AT: at} if at else None)


def checked(code: str, canonical: Callable[[str], str]) -> Callable[[str], str]:
    """Makes a validator that returns the canonical form of a text. A ValueError of `canonical` becomes the error of the
    field.
    """

    def check(text: str) -> str:
        try:
            return canonical(text)
        except ValueError as error:
            raise fault(code, str(error)) from None

    return check


# The pattern of text without control characters and without characters that other programs treat as the end of a line
# (C148).
_NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"


def composed(most: int) -> AfterValidator:
    """Makes a validator that returns text in NFC with at most `most` characters. The limit is checked after the
    conversion to NFC, because one character may become three.
    """

    def check(text: str) -> str:
        found = unicodedata.normalize("NFC", text)
        if len(found) > most:
            raise fault("too_long", f"must have at most {most} characters in NFC")
        return found

    return AfterValidator(check)


Text = Annotated[str, Field(max_length=200, pattern=_NO_CONTROLS), composed(200)]


def _trimmed(text: str) -> str:
    if text != text.strip():
        raise fault("blank_ends", "must not begin or end with a blank")
    return text


Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        pattern=_NO_CONTROLS,
        description="The name for people. It is unique in its list, without regard to case.",
        examples=["Office"],
    ),
    AfterValidator(_trimmed),
    composed(100),
]
Label = Annotated[
    str,
    Field(max_length=100, pattern=_NO_CONTROLS, description="A description for people."),
    composed(100),
]


def _decimal(value: object) -> object:
    """Checks that a number in a path or query consists of digits only. Pydantic would also accept 1_0, +1 and 1.0."""
    if isinstance(value, str) and not re.fullmatch(r"0|[1-9][0-9]{0,15}", value):
        raise fault("wrong_type", "must be a number in digits")
    return value


# A part of the annotation of a number. Limits must come before it in the annotation, or the OpenAPI document would lack
# them.
DIGITS = BeforeValidator(_decimal)
Decimal = Annotated[int, DIGITS]

Mode = Annotated[
    Literal["off", "shadow", "enforce"],
    Field(
        description="off: the rule is not checked. shadow: a match is recorded and counted, but never refused. "
        "enforce: a match is refused."
    ),
]


def domain_name(text: str) -> str:
    """Returns the canonical form of a domain. A label that begins with xn-- must be a valid A-label (IDNA 2008). Raises
    ValueError.
    """
    name = canonical_domain(text)
    for label in name.split("."):
        if label.startswith("xn--"):
            try:
                idna.ulabel(label)
            except UnicodeError:
                raise ValueError("is not a valid internationalised domain name") from None
    return name


def domain_or_below(text: str) -> str:
    """Returns the canonical form of a domain, or of a domain with a dot before it, which stands for all its subdomains.
    Raises ValueError.
    """
    if text.startswith("*."):
        raise ValueError("subdomains are written with a dot before the domain, for example .example.com")
    return "." + domain_name(text[1:]) if text.startswith(".") else domain_name(text)


def full_address(text: str) -> Address:
    """Returns a full address. A pattern is refused, because it would be compared literally and would match nothing
    (F27).

    Raises ValueError.
    """
    if text.startswith("@") or "*" in text.rpartition("@")[0]:
        raise ValueError("must be a full address, and not a pattern")
    address = parse_address(text)
    if address.literal is None:
        domain_name(address.domain)
    return address


def _host_name(text: str) -> str:
    name = domain_name(text)
    if not is_host_name(name):
        raise ValueError("must be a fully qualified host name, such as mail.example.com")
    return name


HostName = Annotated[
    str,
    Field(min_length=3, max_length=255, json_schema_extra={"format": "idn-hostname"}, examples=["mail.example.com"]),
    AfterValidator(checked("hostname", _host_name)),
]
Domain = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        json_schema_extra={"format": "idn-hostname"},
        examples=["example.com"],
        description="A mail domain in any script. It is stored and shown as A-labels in lower case, without a final "
        "dot.",
    ),
    AfterValidator(checked("domain", domain_name)),
]
MailAddress = Annotated[
    str,
    Field(
        min_length=3,
        max_length=512,
        json_schema_extra={"format": "idn-email"},
        examples=["user@example.com"],
        description="A full e-mail address. The domain is stored as A-labels in lower case.",
    ),
    AfterValidator(checked("address", lambda text: str(full_address(text)))),
]


# Any address that SMTP accepts. Unlike other address fields, it may contain an asterisk, and labels that begin with
# xn-- but are not valid A-labels.
AnyAddress = Annotated[
    str,
    Field(
        min_length=3,
        max_length=512,
        json_schema_extra={"format": "idn-email"},
        examples=["user@example.com"],
        description="A full e-mail address.",
    ),
    AfterValidator(checked("address", lambda text: str(parse_address(text)))),
]


def address_key(address: str) -> str:
    """Returns the key by which configured addresses are compared, without regard to the case of the local part."""
    return parse_address(address).local_key()


def ip_address(text: str) -> str:
    """Returns the canonical form of an IP address. An IPv4 address that is mapped to IPv6 becomes IPv4. An IPv6 zone is
    refused, because it names an interface of another machine. Raises ValueError.
    """
    if "%" in text:
        raise ValueError("must be an IP address without a zone")
    return str(canonical_ip(text))


def _host(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    bare = bare[5:] if bare[:5].lower() == "ipv6:" else bare
    try:
        return ip_address(bare)
    except ValueError:
        if ":" in bare or re.fullmatch(r"[0-9.]+", bare):
            raise
        return domain_name(bare)


Host = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^\u0000-\u002c\u002f\u003b-\u0040\u005c\u005e\u0060\u007b-\u00a0\u2028\u2029]+$",
        examples=["smtp.example.net", "192.0.2.25"],
        description="A host name or an IP address. Its A and AAAA records are used, and not its MX records.",
    ),
    AfterValidator(checked("host", _host)),
]
Port = Annotated[int, Field(ge=1, le=65535)]


def _name_server(text: str) -> str:
    try:
        return ip_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError("must be an IP address, or address:port with an IPv6 address in brackets")
    address = ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    return f"[{address}]:{int(port)}" if ":" in address else f"{address}:{int(port)}"


NameServer = Annotated[
    str,
    Field(
        min_length=2,
        max_length=60,
        pattern=r"^[0-9A-Fa-f:.\[\]]+$",
        examples=["192.0.2.53", "[2001:db8::53]:5353"],
        description="A name server: its IP address, with a port when that is not 53.",
    ),
    AfterValidator(checked("name_server", _name_server)),
]


def _banner(text: str) -> str:
    if text != text.strip(" "):
        raise ValueError("must not begin or end with a blank")
    return text


Banner = Annotated[
    str,
    Field(max_length=200, pattern=r"^[\u0020-\u007e]*$", examples=["ESMTP"]),
    AfterValidator(checked("banner", _banner)),
]


def _timezone(text: str) -> str:
    if text != "UTC" and text not in zoneinfo.available_timezones():
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin")
    return text


Timezone = Annotated[
    str,
    Field(max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$", examples=["UTC", "Europe/Berlin"]),
    AfterValidator(checked("timezone", _timezone)),
]


def _instant(value: Any) -> Any:
    """Checks that a time is RFC 3339 text with a zone. Numbers and local times are refused."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not re.fullmatch(
        r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", value, re.ASCII
    ):
        raise fault("instant", "must be a time with its zone, such as 2030-01-31T12:00:00Z")
    try:
        fraction = re.sub(r"(\.\d{6})\d+", r"\1", value.upper().replace("Z", "+00:00"))
        return datetime.fromisoformat(fraction).astimezone(UTC)
    except (ValueError, OverflowError):
        raise fault("instant", "must be a time that exists, such as 2030-01-31T12:00:00Z") from None


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    Field(description="A time in RFC 3339 with its zone.", examples=["2030-01-31T12:00:00Z"]),
]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(instant: datetime) -> int:
    """Returns a time as microseconds since 1970."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _secret_text(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(_TYPEABLE, secret.get_secret_value()):
        raise fault("secret_text", "must not contain control characters, or a lone surrogate")
    return secret


# Text that a login can send. It has no control characters, because NUL separates the parts of SASL PLAIN (RFC 4616),
# and no lone surrogates, because these are not text (C148).
_TYPEABLE = r"[^\x00-\x1f\x7f\ud800-\udfff]*"
Password = Annotated[
    SecretStr,
    Field(
        min_length=1,
        max_length=1024,
        description="Write-only, so it is never shown. It is kept when it is left out. It has no control characters.",
        json_schema_extra={"writeOnly": True, "format": "password"},
    ),
    AfterValidator(_secret_text),
]


def _password_hash(secret: SecretStr) -> SecretStr:
    try:
        return SecretStr(canonical_hash(secret.get_secret_value()))
    except ValueError:
        raise fault(
            "password_hash",
            "must be a hash of argon2id (up to 256 MiB, 16 passes), SHA512-CRYPT (up to 1,000,000 rounds) or BLF-CRYPT "
            "(up to cost 14)",
        ) from None


PasswordHash = Annotated[
    SecretStr,
    Field(
        min_length=1,
        max_length=LONGEST_HASH,
        description="The hash of a password, with or without {SCHEME} before it.",
        examples=["{SHA512-CRYPT}$6$salt$…"],
        json_schema_extra={"writeOnly": True},
    ),
    AfterValidator(_password_hash),
]


def unique(values: list[str]) -> list[str]:
    """Returns the list of canonical values without repetitions, in the same order."""
    return list(dict.fromkeys(values))
