"""When certificates end, for the metrics of a process."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from prometheus_client import Gauge


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
        """In seconds since 1970. While the file cannot be read it is the last one known, or NaN. Raises nothing."""
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
