"""DANE for SMTP (RFC 7672): finds the usable TLSA records of a host, and checks whether a server's certificate matches
one.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dns.rdtypes.ANY.TLSA import TLSA

from libs.dns.stub_resolver import Outcome
from services.relay.delivery.targets.dns import Lookup, Resolver
from services.relay.delivery.targets.mx import Host

_TRUST_ANCHOR, _END_ENTITY = 2, 3
_DIGESTS = {1: "sha256", 2: "sha512"}


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    # The usages: 2 is DANE-TA, 3 is DANE-EE.
    usage: int
    # The selectors: 0 is the whole certificate, 1 is its public key.
    selector: int
    # The matching types: 0 is the data itself, 1 is SHA-256, 2 is SHA-512.
    matching: int
    data: bytes

    def matches(self, certificate: x509.Certificate) -> bool:
        if self.selector == 0:
            chosen = certificate.public_bytes(Encoding.DER)
        else:
            chosen = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = _DIGESTS.get(self.matching)
        found = hashlib.new(digest, chosen).digest() if digest else chosen
        return hmac.compare_digest(found, self.data)


@dataclass(frozen=True, slots=True)
class Dane:
    """The TLSA records of a host, and what they require."""

    lookups: tuple[Lookup, ...] = ()
    # The usable records. With `present` and without records, TLS is required, but the certificate cannot be checked
    # (RFC 7672 2.2).
    records: tuple[TlsaRecord, ...] = ()
    present: bool = False
    # The name that has the records. It is sent to the server as SNI, and DANE-TA looks for it in the certificate.
    base_domain: str = ""
    # A look-up in a signed zone that got no answer. Then the host must not be used (RFC 7672 2.1.2).
    unanswered: Lookup | None = None


NO_DANE = Dane()


async def of_host(resolver: Resolver, host: Host) -> Dane:
    """Returns the TLSA records that apply to a host: those at the end of its aliases, otherwise its own (RFC 7672
    2.2.2; F02).
    """
    if not host.authenticated:
        return NO_DANE
    lookups: list[Lookup] = []
    base_domains = [host.alias_target, host.name] if host.alias_target else [host.name]
    if not host.secure_addresses:
        if not host.alias_target:
            return NO_DANE
        # The zone at the end of the aliases is not signed. The zone of the alias itself may be signed, and then its
        # records apply.
        alias = await resolver.lookup(host.name, "CNAME")
        lookups.append(alias)
        if alias.outcome is Outcome.NO_ANSWER:
            return Dane(tuple(lookups), unanswered=alias)
        if alias.outcome is not Outcome.FOUND or not alias.authenticated:
            return Dane(tuple(lookups))
        base_domains = [host.name]
    for base_domain in base_domains:
        lookup = await resolver.lookup(f"_{host.port}._tcp.{base_domain}", "TLSA")
        lookups.append(lookup)
        if lookup.outcome is Outcome.NO_ANSWER:
            return Dane(tuple(lookups), unanswered=lookup)
        if lookup.outcome is Outcome.FOUND and lookup.authenticated:
            return Dane(tuple(lookups), _usable(lookup), present=True, base_domain=base_domain)
    return Dane(tuple(lookups))


def _usable(lookup: Lookup) -> tuple[TlsaRecord, ...]:
    records = (
        TlsaRecord(record.usage, record.selector, record.mtype, bytes(record.cert))
        for record in lookup.records
        if isinstance(record, TLSA)
    )
    return tuple(filter(_is_usable, records))


def verify(records: Iterable[TlsaRecord], chain: Sequence[bytes], names: Sequence[str], now: datetime.datetime) -> bool:
    """Returns whether the certificate chain of a server (DER, its own certificate first) matches one of the records.

    DANE-EE compares only the certificate or its key, and ignores names and dates (RFC 7672 3.1.1). DANE-TA needs a
    chain to the anchor that is valid now, and one of `names` in the certificate (3.1.2, 3.2.2).
    """
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
    except ValueError:
        return False
    if not certificates:
        return False
    return any(
        record.matches(certificates[0]) if record.usage == _END_ENTITY else _anchored(record, certificates, names, now)
        for record in records
    )


def _anchored(
    anchor: TlsaRecord, chain: Sequence[x509.Certificate], names: Sequence[str], now: datetime.datetime
) -> bool:
    if not _names(chain[0], names):
        return False
    for position, certificate in enumerate(chain):
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return False
        if anchor.matches(certificate):
            return position > 0 or _is_issued_by(certificate, certificate)
        if position + 1 == len(chain) or not _is_issued_by(certificate, chain[position + 1]):
            return False
        if not _may_issue(chain[position + 1]):
            return False
    return False


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _names(certificate: x509.Certificate, wanted: Sequence[str]) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    for found in names.get_values_for_type(x509.DNSName):
        pattern = found.lower().rstrip(".")
        for name in wanted:
            if pattern == name or (pattern.startswith("*.") and pattern[2:] == name.partition(".")[2]):
                return True
    return False


def _is_usable(record: TlsaRecord) -> bool:
    """Returns whether the record may be used. Usages of PKIX have no meaning between MTAs (RFC 7672 3.1.3), and unknown
    values are not usable either.
    """
    if record.usage not in (_TRUST_ANCHOR, _END_ENTITY) or record.selector not in (0, 1):
        return False
    lengths = {1: 32, 2: 64}
    return record.matching == 0 or lengths.get(record.matching) == len(record.data)
