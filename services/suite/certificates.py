"""`posthouse certificates`: a private authority, and a certificate of it for each service.

The folder of the authority contains its key, and no service needs this folder. The other folder has one folder for each
service, with the files that the service reads: `chain.pem`, `key.pem`, and `authority.pem`, with which it checks the
certificates of the other services.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from libs.runtime.lifecycle import StartupError, write_private
from libs.runtime.security import TlsFiles, service_dns_name, service_uri
from services.suite.topology import GRPC_SERVICES

DAYS = 365
# An authority is valid for this many times the life of a service's certificate.
_AUTHORITY_LIVES = 10
# A certificate begins in the past, because the clocks of the machines differ a little.
_BACKDATED = datetime.timedelta(hours=1)

_KEY, _CHAIN, _AUTHORITY = "key.pem", "chain.pem", "authority.pem"


@dataclass(frozen=True, slots=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    # The certificates of authorities: first the present one, and then the former ones whose certificates may still be
    # in use.
    bundle: tuple[x509.Certificate, ...]


def files_of(folder: Path, service: str) -> TlsFiles:
    """Returns the files of a service that `renew` writes."""
    own = folder / service
    return TlsFiles(certificate=own / _CHAIN, key=own / _KEY, authority=own / _AUTHORITY)


def renew(
    authority_folder: Path,
    folder: Path,
    now: datetime.datetime,
    *,
    days: int = DAYS,
    services: Sequence[str] = GRPC_SERVICES,
    owner: str = "",
) -> list[str]:
    """Makes missing certificates, and renews those with less than a third of their life left. Returns lines that
    describe this. `days` is the life of a service's certificate. `owner` is the user who runs the services. Services
    load replaced files without a restart. Raises StartupError.
    """
    if folder.resolve().is_relative_to(authority_folder.resolve()) or authority_folder.resolve().is_relative_to(
        folder.resolve()
    ):
        raise StartupError(
            "the authority's folder and that of the certificates must be apart: neither may be in the other"
        )
    try:
        with _locked(authority_folder):
            return _renew(authority_folder, folder, now, datetime.timedelta(days=days), services, owner)
    except OSError as error:
        raise StartupError(f"certificates: {error.filename}: {error.strerror}") from error


def _renew(
    authority_folder: Path,
    folder: Path,
    now: datetime.datetime,
    life: datetime.timedelta,
    services: Sequence[str],
    owner: str,
) -> list[str]:
    done: list[str] = []
    authority = _load_authority(authority_folder)
    if authority is None or authority.certificate.not_valid_after_utc < now + 2 * life:
        authority = _new_authority(authority_folder, authority, now, life)
        done.append(f"made an authority, valid until {_date(authority.certificate)}")
    bundle = b"".join(_pem(certificate) for certificate in authority.bundle)
    # Every service must trust a new authority before any service uses a certificate from it.
    for service in services:
        files = files_of(folder, service)
        files.authority.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not files.authority.exists() or files.authority.read_bytes() != bundle:
            write_private(files.authority, bundle)
            done.append(f"wrote the authority's certificate for {service}")
    for service in services:
        files = files_of(folder, service)
        reason = _reason_to_renew(files, service, authority, now)
        if reason:
            until = _issue(files, service, authority, now, life)
            done.append(f"made a certificate for {service} ({reason}), valid until {until}")
        if owner:
            for path in (files.authority.parent, files.authority, files.certificate, files.key):
                shutil.chown(path, owner)
    return done


@contextlib.contextmanager
def _locked(authority_folder: Path) -> Iterator[None]:
    """Locks the folder, because two commands at the same time would make two authorities."""
    authority_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(authority_folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _load_authority(folder: Path) -> _Authority | None:
    """Returns the authority, or None when there is none yet. Raises StartupError when it cannot be used."""
    if not (folder / _KEY).exists():
        return None
    try:
        key = serialization.load_pem_private_key((folder / _KEY).read_bytes(), None)
        bundle = tuple(x509.load_pem_x509_certificates((folder / _CHAIN).read_bytes()))
    except (OSError, ValueError) as error:
        raise StartupError(f"the authority in {folder} cannot be used: {type(error).__name__}") from error
    # If a renewal ended between its two writes, the key is that of the former certificate.
    certificates = [certificate for certificate in bundle if certificate.public_key() == key.public_key()]
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not certificates:
        raise StartupError(f"the authority in {folder} cannot be used: its key and certificate are no pair")
    return _Authority(key, certificates[0], bundle)


def _new_authority(
    folder: Path, former: _Authority | None, now: datetime.datetime, life: datetime.timedelta
) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Posthouse services {now:%Y-%m-%d}")])
    certificate = (
        _builder(key.public_key(), name, name, now, now + _AUTHORITY_LIVES * life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    others = () if former is None else tuple(issuer for issuer in former.bundle if issuer.not_valid_after_utc > now)
    bundle = (certificate, *others)
    # The key is written last. If the first run ends before that, the next run makes both files again.
    write_private(folder / _CHAIN, b"".join(map(_pem, bundle)))
    write_private(folder / _KEY, _private_pem(key))
    return _Authority(key, certificate, bundle)


def _reason_to_renew(files: TlsFiles, service: str, authority: _Authority, now: datetime.datetime) -> str:
    """Returns the reason why a service needs a new certificate. The result is empty when it needs none."""
    if not (files.certificate.exists() and files.key.exists()):
        return "there was none"
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return "the former one could not be used"
    except InvalidSignature:
        return "another authority had issued the former one"
    if certificate.public_key() != key.public_key() or list(names) != _names(service):
        return "the former one could not be used"
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end <= now:
        return "the former one had expired"
    return "the former one expires soon" if end - now < (end - begin) / 3 else ""


def _issue(
    files: TlsFiles, service: str, authority: _Authority, now: datetime.datetime, life: datetime.timedelta
) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, service)])
    certificate = (
        _builder(key.public_key(), subject, authority.certificate.subject, now, now + life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        # Every service is a server for some services and a client of others.
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(_names(service)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    write_private(files.key, _private_pem(key))
    write_private(files.certificate, _pem(certificate))
    return _date(certificate)


def _names(service: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(service_uri(service)), x509.DNSName(service_dns_name(service))]


def _builder(
    key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    issuer: x509.Name,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _date(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d}"
