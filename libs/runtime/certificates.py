"""Certificates and keys in files: loads a pair without a prompt, and reads when certificates expire."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from prometheus_client import Gauge


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Loads a chain and its key. Raises ValueError, which names the files and says what is wrong with them.

    This function never waits. OpenSSL by itself would ask for a passphrase at the terminal (F10), and opening a pipe
    would wait for a writer.
    """
    for path in (certificate, key):
        require_file(path)
    try:
        context.load_cert_chain(certificate, key, password=_refuse_passphrase)
    except _PassphraseError:
        raise ValueError(f"{key}: the key is protected by a passphrase, which a service can't be asked for") from None
    except ssl.SSLError as error:
        reason = (error.reason or "not readable").replace("_", " ").lower()
        raise ValueError(f"{certificate} and {key}: {reason}") from error
    except OSError as error:
        raise ValueError(f"{error.filename or certificate}: {error.strerror}") from error


def require_file(path: Path) -> None:
    """Checks that the path is a regular file, because reading a pipe or a device might never end. Raises ValueError."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: not a regular file")


class _PassphraseError(Exception):
    """A key is protected by a passphrase."""


def _refuse_passphrase() -> NoReturn:
    raise _PassphraseError


def expiry(chain: bytes) -> float:
    """Returns the earliest expiry among the certificates of a PEM chain, in seconds since 1970. Raises ValueError."""
    return min(certificate.not_valid_after_utc.timestamp() for certificate in x509.load_pem_x509_certificates(chain))


def names(chain: bytes) -> tuple[str, ...]:
    """Returns the DNS names of the first certificate of a PEM chain, in lower case. Raises ValueError."""
    leaf = x509.load_pem_x509_certificates(chain)[0]
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in alternatives.get_values_for_type(x509.DNSName))


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The names of a certificate in use, and its expiry in seconds since 1970."""

    file: Path
    names: tuple[str, ...]
    expiry: float


def facts(file: Path) -> CertificateFacts:
    """Reads the facts of the certificate in a file. Raises OSError or ValueError."""
    chain = file.read_bytes()
    return CertificateFacts(file, names(chain), expiry(chain))


class CertificateFile:
    """The expiry of the certificate in a file, which is read again whenever the file has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed_at = -1
        self._expiry = float("nan")

    def expiry(self) -> float:
        """Returns the expiry in seconds since 1970. While the file cannot be read, this is the last expiry that was
        read, or NaN.
        """
        try:
            changed_at = self.path.stat().st_mtime_ns
            if changed_at != self._changed_at:
                self._expiry = expiry(self.path.read_bytes())
                self._changed_at = changed_at
        except (OSError, ValueError):
            pass  # The service that uses the certificate logs what is wrong with it.
        return self._expiry


def show_expiry(gauge: Gauge, path: Path) -> None:
    """Makes the gauge show, at each scrape, when a certificate file expires. `gauge` has the label `certificate`."""
    gauge.labels(str(path)).set_function(CertificateFile(path).expiry)
