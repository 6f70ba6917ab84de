"""The expiry times of certificates are shown correctly while their files change."""

from __future__ import annotations

import datetime
import math
import os
from pathlib import Path

import trustme
from prometheus_client import CollectorRegistry, Gauge

from libs.runtime.certificates import expiry, show_expiry

FIRST = datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)
LATER = datetime.datetime(2032, 1, 1, tzinfo=datetime.UTC)


def _pem(authority: trustme.CA, end: datetime.datetime) -> bytes:
    return authority.issue_cert("x.test", not_after=end).cert_chain_pems[0].bytes()


def test_the_expiry_of_a_chain_is_that_of_its_first_certificate_to_expire() -> None:
    authority = trustme.CA()
    assert expiry(_pem(authority, LATER) + _pem(authority, FIRST)) == FIRST.timestamp()


def test_a_changed_file_is_read_again_and_its_last_valid_expiry_stays(tmp_path: Path) -> None:
    authority, path = trustme.CA(), tmp_path / "chain.pem"
    gauge = Gauge("ends", "When.", ["certificate"], registry=(registry := CollectorRegistry()))
    show_expiry(gauge, path)

    def shown() -> float | None:
        return registry.get_sample_value("ends", {"certificate": str(path)})

    assert math.isnan(shown() or 0.0), "there is no file yet"
    for number, (content, wanted) in enumerate(
        [(_pem(authority, FIRST), FIRST), (_pem(authority, LATER), LATER), (b"nonsense", LATER)], start=1
    ):
        path.write_bytes(content)
        os.utime(path, (number, number))
        assert shown() == wanted.timestamp()
    path.unlink()
    assert shown() == LATER.timestamp()
