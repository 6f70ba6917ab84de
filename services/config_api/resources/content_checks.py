"""The singleton `/v1/settings/content-checks`, and DNS block lists that are likely mistakes."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from services.config_api.resources.description import Body, CheckContext, Finding, Singleton
from services.config_api.resources.fields import Domain, Mode, Model, domain_name, fault, ip_address, unique

_ANSWERS = ipaddress.IPv4Network("127.0.0.0/8")
# What zones answer to say that they don't answer (RFC 5782 and the operators' own pages), never a listing.
_REFUSALS = ipaddress.IPv4Network("127.255.255.0/24")
_CLAMD_PORT = 3310


def _codes(text: str) -> str:
    first, dash, last = text.partition("-")
    try:
        low = ipaddress.IPv4Address(first)
        high = ipaddress.IPv4Address(last) if dash else low
    except ValueError:
        raise fault("dnsbl_code", "must be an address, or first-last, in 127.0.0.0/8") from None
    if low not in _ANSWERS or high not in _ANSWERS:
        raise fault("dnsbl_code", "must lie in 127.0.0.0/8")
    if low > high:
        raise fault("dnsbl_code", "ends before it begins")
    if low <= _REFUSALS.broadcast_address and high >= _REFUSALS.network_address:
        raise fault("dnsbl_code", "127.255.255.0/24 means that the zone refused to answer, not that it lists")
    return f"{low}-{high}" if dash and low != high else str(low)


class DnsblZone(Model):
    """One list of clients in the DNS."""

    zone: Domain
    codes: Annotated[
        list[
            Annotated[
                str,
                Field(min_length=9, max_length=31, pattern=r"^127\.[0-9.]+(-127\.[0-9.]+)?$"),
                AfterValidator(_codes),
            ]
        ],
        Field(min_length=1, max_length=100),
        AfterValidator(unique),
    ] = Field(
        default=["127.0.0.2-127.0.0.11"],
        description="Answers that mean listed: addresses or inclusive ranges in 127.0.0.0/8.",
    )


class Dnsbl(Model):
    """Lists of clients in the DNS (RFC 5782)."""

    mode: Mode = "off"
    zones: list[DnsblZone] = Field(default=[], max_length=50, description="The lists that are asked.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [zone.zone for zone in self.zones]
        if len(set(names)) != len(names):
            raise fault("duplicate_zone", "a zone is named twice", "zones")
        return self


class Spf(Model):
    """RFC 7208."""

    mode: Mode = "off"
    on_softfail: Literal["accept", "reject"] = Field(default="accept", description="What a softfail leads to.")
    reject_permerror: bool = Field(default=False, description="A record that can't be used is refused too (5.7.24).")


class Dkim(Model):
    """RFC 6376: a message whose every signature fails is refused; one with none is not."""

    mode: Mode = "off"


class Dmarc(Model):
    """The published policy of the From domain."""

    mode: Mode = "off"


def _clamd(text: str) -> str:
    if text.startswith("/"):
        return text
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise fault("clamd", "must be host:port, or the absolute path of a socket")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        host = ip_address(bare)
    except ValueError:
        try:
            host = domain_name(bare)
        except ValueError as error:
            raise fault("clamd", str(error)) from None
    return f"[{host}]:{int(port)}" if ":" in host else f"{host}:{int(port)}"


class Antivirus(Model):
    """Scanning by clamd, whole messages."""

    mode: Mode = "off"
    clamd: Annotated[
        str,
        Field(
            max_length=255,
            pattern=r"^[^\u0000-\u0020\u007f-\u00a0\u2028\u2029]+$",
            examples=["127.0.0.1:3310", "/run/clamav/clamd.ctl"],
        ),
        AfterValidator(_clamd),
    ] = Field(default=f"127.0.0.1:{_CLAMD_PORT}", description="host:port, or the absolute path of a socket.")
    on_error: Literal["tempfail", "accept"] = Field(
        default="tempfail", description="When there is no verdict: 451 4.3.0, or on without one."
    )
    action: Literal["reject", "discard"] = Field(default="reject", description="What happens to an infected message.")
    timeout_seconds: int = Field(default=60, ge=1, le=600, description="Longest wait for clamd, in seconds.")


class Arc(Model):
    """RFC 8617: verified and written to Authentication-Results, never trusted."""

    verify: bool = Field(default=False, description="Verify ARC chains.")


class ContentChecksSettings(Model):
    """DNSBL, SPF, DKIM, DMARC, ARC and antivirus."""

    dnsbl: Dnsbl = Field(default=Dnsbl(), description="Lists of clients in the DNS: 554 5.7.1.")
    spf: Spf = Field(default=Spf(), description="RFC 7208: 550 5.7.23.")
    dkim: Dkim = Field(default=Dkim(), description="RFC 6376: 550 5.7.20.")
    dmarc: Dmarc = Field(default=Dmarc(), description="The From domain's policy: 550 5.7.1, or marked.")
    antivirus: Antivirus = Field(default=Antivirus(), description="clamd: 554 5.7.1.")
    arc: Arc = Field(default=Arc(), description="RFC 8617, reported only.")


# RFC 5782 5: every list of IPv4 addresses has the first as a test entry, and never the second.
_ALWAYS_LISTED = "127.0.0.2"
_NEVER_LISTED = "127.0.0.1"


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Looks up the test entries of every zone, at the same time, so that silent zones do not add up (F30)."""
    zones = enumerate(body["dnsbl"]["zones"])
    faults = await asyncio.gather(*(_fault_of_zone(number, zone["zone"], check_context) for number, zone in zones))
    return [finding for finding in faults if finding is not None]


async def _fault_of_zone(number: int, zone: str, check_context: CheckContext) -> Finding | None:
    pointer = f"/dnsbl/zones/{number}/zone"
    never_listed, always_listed = await asyncio.gather(
        check_context.listings(_NEVER_LISTED, zone), check_context.listings(_ALWAYS_LISTED, zone)
    )
    if any(not _is_listing(record) for record in (*(never_listed or ()), *(always_listed or ()))):
        return Finding(
            pointer,
            "zone_refuses",
            "This zone answers with addresses that are no listing, as lists do that refuse a name server: "
            "no client is refused by it.",
        )
    if never_listed:
        return Finding(
            pointer,
            "zone_lists_everybody",
            f"This zone lists {_NEVER_LISTED}, as a list does that lists everybody: no client is refused by it.",
        )
    if never_listed is None or always_listed is None:
        return Finding(pointer, "zone_no_answer", "The DNS gave no answer for the test entries of this zone in time.")
    if not always_listed:
        return Finding(
            pointer,
            "zone_without_test_entry",
            f"This zone does not list its test entry {_ALWAYS_LISTED}: is it a DNS block list, and still in service?",
        )
    return None


def _is_listing(record: str) -> bool:
    address = ipaddress.IPv4Address(record)
    return address in _ANSWERS and address not in _REFUSALS


CONTENT_CHECKS = Singleton(
    kind="settings/content-checks",
    noun="ContentChecksSettings",
    label="content checks",
    tag="security",
    model=ContentChecksSettings,
    check=check,
)
