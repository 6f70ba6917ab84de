"""`posthouse certificates` makes and renews certificates, and the services trust the former authority for a time."""

from __future__ import annotations

import datetime
import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store

from libs.runtime.lifecycle import StartupError
from libs.runtime.security import TlsFiles
from services.suite.certificates import files_of, renew
from services.suite.topology import GRPC_SERVICES as SERVICES

ROOT = Path(__file__).parents[2]
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return tmp_path / "authority"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certificates"


def certificate(files: TlsFiles) -> x509.Certificate:
    return x509.load_pem_x509_certificate(files.certificate.read_bytes())


def trusted(files: TlsFiles) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(files.authority.read_bytes())


def accepts(files: TlsFiles, leaf: x509.Certificate, service: str, now: datetime.datetime) -> None:
    """Raises an exception unless a service with these files accepts the certificate as the certificate of `service`."""
    builder = PolicyBuilder().store(Store(trusted(files))).time(now)
    dns_name = x509.DNSName(f"{service.replace('_', '-')}.posthouse.internal")
    builder.build_server_verifier(dns_name).verify(leaf, [])


def test_each_service_gets_a_certificate_with_its_names(authority: Path, folder: Path) -> None:
    done = renew(authority, folder, NOW)
    assert len(done) == 1 + 2 * len(SERVICES)
    for service in SERVICES:
        files = files_of(folder, service)
        leaf = certificate(files)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"posthouse://{service}"]
        assert leaf.not_valid_after_utc == NOW + 365 * DAY
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        assert key.public_key() == leaf.public_key()
        for other in SERVICES:
            accepts(files_of(folder, other), leaf, service, NOW)


def test_only_owners_can_read_keys_and_the_key_of_the_authority_is_separate(authority: Path, folder: Path) -> None:
    renew(authority, folder, NOW)
    for path in (authority, *folder.glob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    keys = [*authority.glob("key.pem"), *folder.glob("*/key.pem")]
    assert len(keys) == 1 + len(SERVICES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    secret = (authority / "key.pem").read_bytes()
    assert all(secret not in path.read_bytes() for path in folder.glob("*/*"))
    for inside in (folder / "relay", folder):
        with pytest.raises(StartupError, match="apart"):
            renew(inside, folder, NOW)


def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left(authority: Path, folder: Path) -> None:
    renew(authority, folder, NOW, days=90)
    before = certificate(files_of(folder, "relay"))
    assert renew(authority, folder, NOW + 59 * DAY, days=90) == []
    done = renew(authority, folder, NOW + 61 * DAY, days=90)
    assert len(done) == len(SERVICES)
    assert all("expires soon" in line and "2026-06-01" in line for line in done)
    after = certificate(files_of(folder, "relay"))
    assert after.serial_number != before.serial_number
    accepts(files_of(folder, "policy"), before, "relay", NOW + 61 * DAY)
    accepts(files_of(folder, "policy"), after, "relay", NOW + 61 * DAY)


def test_a_new_authority_is_trusted_beside_the_former_one(authority: Path, folder: Path) -> None:
    renew(authority, folder, NOW, days=90)
    before = certificate(files_of(folder, "relay"))
    # The authority is valid ten times as long as its certificates. It is replaced before one of them could expire later
    # than the authority.
    later = NOW + 721 * DAY
    former = renew(authority, folder, NOW + 700 * DAY, days=90)
    assert not any("authority" in line for line in former)
    middle = certificate(files_of(folder, "relay"))
    done = renew(authority, folder, later, days=90)
    assert done[0].startswith("made an authority")
    assert len(trusted(files_of(folder, "policy"))) == 2
    accepts(files_of(folder, "policy"), middle, "relay", later)
    accepts(files_of(folder, "policy"), certificate(files_of(folder, "relay")), "relay", later)
    with pytest.raises(x509.verification.VerificationError):
        accepts(files_of(folder, "policy"), before, "relay", later)
    # The former authority has expired when the next one is made.
    renew(authority, folder, later + 721 * DAY, days=90)
    assert len(trusted(files_of(folder, "policy"))) == 2


def test_a_renewal_of_the_authority_that_ended_before_its_key_was_written_is_repeated(
    authority: Path, folder: Path
) -> None:
    renew(authority, folder, NOW, days=90)
    before = certificate(files_of(folder, "relay"))
    key = (authority / "key.pem").read_bytes()
    later = NOW + 721 * DAY
    renew(authority, folder, later, days=90)
    (authority / "key.pem").write_bytes(key)
    done = renew(authority, folder, later, days=90)
    assert done[0].startswith("made an authority")
    after = certificate(files_of(folder, "relay"))
    accepts(files_of(folder, "policy"), after, "relay", later)
    with pytest.raises(x509.verification.VerificationError):
        accepts(files_of(folder, "policy"), before, "relay", later)


@pytest.mark.parametrize("damage", ["other key", "garbage", "no certificate", "of another service"])
def test_unusable_certificates_are_replaced_by_new_ones(authority: Path, folder: Path, damage: str) -> None:
    renew(authority, folder, NOW)
    files, other = files_of(folder, "relay"), files_of(folder, "policy")
    match damage:
        case "other key":
            shutil.copy(other.key, files.key)
        case "garbage":
            files.certificate.write_text("garbage")
        case "no certificate":
            files.certificate.unlink()
        case _:
            shutil.copy(other.key, files.key)
            shutil.copy(other.certificate, files.certificate)
    (line,) = renew(authority, folder, NOW)
    assert line.startswith("made a certificate for relay (")
    accepts(other, certificate(files), "relay", NOW)


def test_an_unusable_authority_is_reported_and_not_replaced(authority: Path, folder: Path) -> None:
    renew(authority, folder, NOW)
    (authority / "key.pem").write_text("garbage")
    with pytest.raises(StartupError, match="cannot be used"):
        renew(authority, folder, NOW)
    assert (authority / "key.pem").read_text() == "garbage"


def posthouse(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "services", "certificates", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_the_command_reports_its_actions(authority: Path, folder: Path) -> None:
    assert "made a certificate for ingress (there was none)" in posthouse(authority, folder)
    again = posthouse(authority, folder)
    assert "every certificate is valid for long enough" in again
    assert "can read the authority's key" in again


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_certificates_are_given_to_the_user_of_the_services(authority: Path, folder: Path) -> None:
    said = posthouse(authority, folder, "--owner", "nobody")
    assert "can read the authority's key" not in said
    owners = {path.stat().st_uid for path in (*folder.glob("*"), *folder.glob("*/*"))}
    assert owners == {pwd.getpwnam("nobody").pw_uid}
    assert {path.stat().st_uid for path in (authority, *authority.glob("*"))} == {0}
