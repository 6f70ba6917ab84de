"""Self-signed certificates are made once, replaced before they expire, and never overwrite somebody else's file."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
import trustme

from libs.runtime.lifecycle import StartupError
from libs.runtime.self_signed import kept_pair

NOW = datetime.datetime.now(datetime.UTC)


def test_chain_and_key_can_be_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "made" / "pair.pem"
    kept_pair(path, path, "localhost", NOW)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(path)
    first = path.read_bytes()
    kept_pair(path, path, "localhost", NOW + datetime.timedelta(days=300))
    assert path.read_bytes() == first
    kept_pair(path, path, "localhost", NOW + datetime.timedelta(days=340))
    assert path.read_bytes() != first


def test_f16_a_file_of_somebody_else_is_not_changed(tmp_path: Path, certificates: trustme.CA) -> None:
    leaf = certificates.issue_cert("localhost", not_after=NOW + datetime.timedelta(days=3))
    path = tmp_path / "pair.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(path))
    contents = path.read_bytes()
    kept_pair(path, path, "localhost", NOW)
    assert path.read_bytes() == contents


def test_f16_a_certificate_of_somebody_else_without_its_key_is_reported(
    tmp_path: Path, certificates: trustme.CA
) -> None:
    leaf = certificates.issue_cert("localhost")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    contents = certificate.read_bytes()
    with pytest.raises(StartupError, match="has no key"):
        kept_pair(certificate, key, "localhost", NOW)
    assert certificate.read_bytes() == contents
    assert not key.exists()


def test_the_error_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "pair.pem"
    with pytest.raises(StartupError, match="self-signed certificate in"):
        kept_pair(path, path, "localhost", NOW)
