"""The singleton `/v1/settings/content-checks`, and warnings about DNS block lists that are probably mistakes."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from services.config_api.resources.description import Body, CheckContext, Finding, Secret, Singleton
from services.config_api.resources.fields import (
    Domain,
    Mode,
    Model,
    Password,
    domain_name,
    fault,
    ip_address,
    unique,
)

_ANSWERS = ipaddress.IPv4Network("127.0.0.0/8")
# The answers with which a zone refuses a query (RFC 5782, and the documentation of the operators of zones). They never
# mean that an address is listed.
_REFUSALS = ipaddress.IPv4Network("127.255.255.0/24")
_CLAMD_PORT = 3310
# The port of rspamd's normal worker.
_RSPAMD_PORT = 11333


def _codes(text: str) -> str:
    first, dash, last = text.partition("-")
    try:
        low = ipaddress.IPv4Address(first)
        high = ipaddress.IPv4Address(last) if dash else low
    except ValueError:
        raise fault("dnsbl_code", "must be an address, or a range first-last, in 127.0.0.0/8") from None
    if low not in _ANSWERS or high not in _ANSWERS:
        raise fault("dnsbl_code", "must lie in 127.0.0.0/8")
    if low > high:
        raise fault("dnsbl_code", "ends before it begins")
    if low <= _REFUSALS.broadcast_address and high >= _REFUSALS.network_address:
        raise fault(
            "dnsbl_code", "127.255.255.0/24 means that the zone refused to answer, and not that an address is listed"
        )
    return f"{low}-{high}" if dash and low != high else str(low)


class DnsblZone(Model):
    """One DNS block list of clients."""

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
        description="The answers that mean listed: addresses or inclusive ranges in 127.0.0.0/8.",
    )


class Dnsbl(Model):
    """DNS block lists of clients (RFC 5782)."""

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
    on_softfail: Literal["accept", "reject"] = Field(default="accept", description="The action for a softfail.")
    reject_permerror: bool = Field(
        default=False, description="Mail is also refused (5.7.24) when the record cannot be used."
    )


class Dkim(Model):
    """RFC 6376: a message is refused when all its signatures fail. A message without signatures is not refused."""

    mode: Mode = "off"


class Dmarc(Model):
    """The published policy of the domain in the From field."""

    mode: Mode = "off"


def _clamd(text: str) -> str:
    if text.startswith("/"):
        return text
    try:
        return _host_and_port(text)
    except ValueError as error:
        raise fault("clamd", str(error) or "must be host:port, or the absolute path of a socket") from None


def _host_and_port(text: str) -> str:
    """Returns host:port in canonical form. Raises ValueError. The error has no text when the value is not host:port at
    all.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        host = ip_address(bare)
    except ValueError:
        host = domain_name(bare)
    return f"[{host}]:{int(port)}" if ":" in host else f"{host}:{int(port)}"


class Antivirus(Model):
    """Scanning of whole messages by clamd."""

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
        default="tempfail", description="The action without a verdict: 451 4.3.0, or accepting the message."
    )
    action: Literal["reject", "discard"] = Field(default="reject", description="The action for an infected message.")
    timeout_seconds: int = Field(default=60, ge=1, le=600, description="The longest wait for clamd, in seconds.")


def _rspamd(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    try:
        if not separator or scheme.lower() not in ("http", "https"):
            raise ValueError
        return f"{scheme.lower()}://{_host_and_port(rest.removesuffix('/'))}"
    except ValueError as error:
        form = "must be http://host:port or https://host:port, without a path"
        raise fault("rspamd", str(error) or form) from None


class Spam(Model):
    """The spam check of rspamd."""

    mode: Mode = "off"
    rspamd: Annotated[
        str,
        Field(
            max_length=255,
            pattern=r"^[^\u0000-\u0020\u007f-\u00a0\u2028\u2029]+$",
            examples=["http://127.0.0.1:11333"],
        ),
        AfterValidator(_rspamd),
    ] = Field(
        default=f"http://127.0.0.1:{_RSPAMD_PORT}",
        description="The address of rspamd's normal worker: http or https, host and port. /checkv2 is added.",
    )
    password: Password | None = Field(
        default=None,
        description="The password for rspamd, if it needs one. Write-only, encrypted at rest. If a PUT or PATCH "
        "leaves it out, it is kept, except when the address of rspamd changes. Then it must be given "
        "again.",
        json_schema_extra={"writeOnly": True},
    )
    on_error: Literal["accept", "tempfail"] = Field(
        default="accept", description="The action when rspamd gives no answer: accepting the message, or 451 4.3.0."
    )
    timeout_s: int = Field(default=10, ge=1, le=600, description="The longest wait for rspamd, in seconds.")
    check_outgoing: bool = Field(default=False, description="Whether mail of logged-in clients is checked too.")


class Arc(Model):
    """RFC 8617: the chain is verified and reported in Authentication-Results, but never trusted."""

    verify: bool = Field(default=False, description="Verify ARC chains.")


class ContentChecksSettings(Model):
    """DNS block lists, SPF, DKIM, DMARC, ARC, antivirus and spam, and what happens to quarantined mail."""

    dnsbl: Dnsbl = Field(default=Dnsbl(), description="DNS block lists of clients. A listed client gets 554 5.7.1.")
    spf: Spf = Field(default=Spf(), description="RFC 7208: 550 5.7.23.")
    dkim: Dkim = Field(default=Dkim(), description="RFC 6376: 550 5.7.20.")
    dmarc: Dmarc = Field(default=Dmarc(), description="The policy of the From domain: 550 5.7.1, or quarantine.")
    antivirus: Antivirus = Field(default=Antivirus(), description="clamd. An infected message gets 554 5.7.1.")
    arc: Arc = Field(default=Arc(), description="RFC 8617. The result is only reported.")
    spam: Spam = Field(
        default=Spam(),
        description="rspamd. Its action reject gives 554 5.7.1. soft reject and greylist give 451 4.7.1. add header "
        "and rewrite subject add X-Spam and X-Spam-Score, and mark the mail for quarantine.",
    )
    quarantine: Literal["mark", "mailbox", "hold"] = Field(
        default="mark",
        description="Mail that DMARC quarantines, or to which rspamd adds a header, gets X-Posthouse-Quarantine. "
        "mark: it is delivered as usual. mailbox: it goes to the quarantine_mailbox of its local domain, if there "
        "is one. hold: it waits until an operator releases it, and expires without a report.",
    )


# RFC 5782 5: every list of IPv4 addresses contains the first address as a test entry, and never the second one.
_ALWAYS_LISTED = "127.0.0.2"
_NEVER_LISTED = "127.0.0.1"


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Returns warnings. The test entries of all zones are looked up at the same time, so that the waits for silent
    zones do not add up (F30).
    """
    zones = enumerate(body["dnsbl"]["zones"])
    faults = await asyncio.gather(*(_fault_of_zone(number, zone["zone"], check_context) for number, zone in zones))
    return [
        *(finding for finding in faults if finding is not None),
        *_mail_in_clear(body["spam"]),
        *await _idle_quarantine_mailboxes(body, check_context),
    ]


def _mail_in_clear(spam: Body) -> Sequence[Finding]:
    url = urlsplit(spam["rspamd"])
    try:
        is_here = ipaddress.ip_address(url.hostname or "").is_loopback
    except ValueError:
        is_here = url.hostname == "localhost"
    if spam["mode"] == "off" or url.scheme == "https" or is_here:
        return ()
    detail = "The mail and the password are sent to rspamd over the network without encryption. https encrypts both."
    return (Finding("/spam/rspamd", "rspamd_in_clear", detail),)


async def _idle_quarantine_mailboxes(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    domains = await check_context.others("local-domains")
    has_mailbox = any(domain["quarantine_mailbox"] is not None for domain in domains)
    if body["quarantine"] == "mailbox" and domains and not has_mailbox:
        detail = "No local domain has a quarantine_mailbox, so quarantined mail goes to the ordinary mailboxes."
        return (Finding("/quarantine", "no_quarantine_mailbox", detail),)
    if body["quarantine"] != "mailbox" and has_mailbox:
        detail = "A local domain has a quarantine_mailbox, which is used only when this is mailbox."
        return (Finding("/quarantine", "idle_quarantine_mailbox", detail),)
    return ()


async def _fault_of_zone(number: int, zone: str, check_context: CheckContext) -> Finding | None:
    pointer = f"/dnsbl/zones/{number}/zone"
    never_listed, always_listed = await asyncio.gather(
        check_context.listings(_NEVER_LISTED, zone), check_context.listings(_ALWAYS_LISTED, zone)
    )
    if any(not _is_listing(record) for record in (*(never_listed or ()), *(always_listed or ()))):
        return Finding(
            pointer,
            "zone_refuses",
            "This zone answers with addresses that do not mean listed. Zones do this to refuse a name server. No "
            "client is refused because of it.",
        )
    if never_listed:
        return Finding(
            pointer,
            "zone_lists_everybody",
            f"This zone lists {_NEVER_LISTED}, so it lists every address. No client is refused because of it.",
        )
    if never_listed is None or always_listed is None:
        return Finding(pointer, "zone_no_answer", "The DNS gave no answer in time for the test entries of this zone.")
    if not always_listed:
        return Finding(
            pointer,
            "zone_without_test_entry",
            f"This zone does not list its test entry {_ALWAYS_LISTED}: perhaps it is not a DNS block list, or no "
            "longer in use.",
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
    secrets=(Secret(path=("spam", "password"), bound_to=(("spam", "rspamd"),)),),
    check=check,
)
