"""Certificates and keys in files: loading a pair without asking anybody, and when certificates end."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from prometheus_client import Gauge


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Loads a chain and its key. Raises ValueError, which names the files and says what is wrong with them.

    Nobody is asked and nothing is waited for: OpenSSL would ask at the terminal for a passphrase (F10), and opening a
    pipe would wait for its writer.
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
    """Raises ValueError when the path is no regular file: reading a pipe or a device could last for ever."""
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
    """When the first certificate of a PEM chain to end does so, in seconds since 1970. Raises ValueError."""
    return min(each.not_valid_after_utc.timestamp() for each in x509.load_pem_x509_certificates(chain))


class CertificateFile:
    """The end of the certificate in a file that its users read again whenever it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed_at = -1
        self._expiry = float("nan")

    def expiry(self) -> float:
        """The end in seconds since 1970. While the file cannot be read it is the last one known, or NaN."""
        try:
            changed_at = self.path.stat().st_mtime_ns
            if changed_at != self._changed_at:
                self._expiry = expiry(self.path.read_bytes())
                self._changed_at = changed_at
        except (OSError, ValueError):
            pass  # its users say what is wrong with it
        return self._expiry


def show_expiry(gauge: Gauge, path: Path) -> None:
    """Shows the end of the certificate in a file, as it is at each scrape. `gauge` has the label `certificate`."""
    gauge.labels(str(path)).set_function(CertificateFile(path).expiry)
