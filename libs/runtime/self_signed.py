"""Makes self-signed certificates for services without a certificate. They allow encryption, but they
prove no identity.
"""

from __future__ import annotations

import datetime
from ipaddress import ip_address
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from libs.runtime.lifecycle import StartupError, write_private

log = structlog.get_logger(__name__)

_DAYS = 365
_RENEW_BEFORE_DAYS = 30


def make(host_name: str, now: datetime.datetime, days: int = _DAYS) -> tuple[bytes, bytes]:
    """Returns a certificate for the name and for loopback, and its key, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_name[:64])])
    names: list[x509.GeneralName] = [x509.DNSName(host_name), x509.DNSName("localhost")]
    names += [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", "::1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(dict.fromkeys(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


def kept_pair(certificate: Path, key: Path, host_name: str, now: datetime.datetime) -> None:
    """Makes the pair when one of its files is missing, or when Posthouse made it and it will soon expire. Raises
    StartupError.

    Both paths may name the same file, which then contains certificate and key. A certificate that Posthouse did not
    make is never overwritten, even if it has no key (F16).
    """
    is_theirs = not was_made_here(certificate, host_name)
    if certificate.exists() and key.exists() and (is_theirs or _lasts(certificate, now)):
        return
    if certificate.exists() and is_theirs:
        raise StartupError(
            f"{certificate} has no key {key}, and Posthouse has not made it: give its key, or move it away"
        )
    certificate_pem, key_pem = make(host_name, now)
    try:
        certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if key == certificate:
            certificate_pem += key_pem
        else:
            write_private(key, key_pem)
        write_private(certificate, certificate_pem)
    except OSError as error:
        folder = certificate.parent
        raise StartupError(f"can't write the self-signed certificate in {folder}: {error.strerror}") from error
    log.info("self_signed_certificate_made", file=str(certificate))


def was_made_here(certificate: Path, host_name: str) -> bool:
    """Whether the certificate looks as if `make` made it: it is signed by itself, and for this name. A certificate that
    cannot be read counts as made by somebody else.
    """
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    names = loaded.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return loaded.issuer == loaded.subject and [name.value for name in names] == [host_name[:64]]


def _lasts(certificate: Path, now: datetime.datetime) -> bool:
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    return loaded.not_valid_after_utc > now + datetime.timedelta(days=_RENEW_BEFORE_DAYS)
