"""The checks of a service's machine, with real file systems, limits, certificates and name servers."""

from __future__ import annotations

import datetime
import resource
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from libs.dns import name_server_check
from libs.runtime import machine_checks
from libs.runtime.checks import Check, CheckResult, Level
from tests.peers.dns import Behaviour, DnsServer


async def one(check: Check) -> CheckResult:
    [result] = await check()
    assert (result.remedy == "") is (result.level is Level.OK)
    return result


async def test_a_file_system_without_space_is_an_error(tmp_path: Path) -> None:
    """The file system /proc has no free space."""
    result = await one(machine_checks.disk(Path("/proc")))
    assert (result.id, result.level) == ("disk", Level.ERROR)
    assert "/proc" in result.text
    assert (await one(machine_checks.disk(tmp_path / "none"))).level is Level.ERROR
    assert str(tmp_path) in (await one(machine_checks.disk(tmp_path))).text


async def test_a_clock_without_synchronisation_gives_a_warning() -> None:
    synchronised, unsynchronised, unknown = 0, 5, -1
    assert (await one(machine_checks.clock(lambda: unsynchronised))).level is Level.WARNING
    assert (await one(machine_checks.clock(lambda: synchronised))).level is Level.OK
    assert "does not tell" in (await one(machine_checks.clock(lambda: unknown))).text
    # This call reads the real state of the kernel's clock, which differs between machines.
    assert (await one(machine_checks.clock())).id == "clock"


async def test_a_low_limit_of_open_files_gives_a_warning() -> None:
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        assert (await one(machine_checks.open_files(512))).level is Level.OK
        result = await one(machine_checks.open_files(513))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    assert result.level is Level.WARNING
    assert "513" in result.remedy


def write_certificate(
    path: Path,
    *names: str,
    days: float = 90,
    starts_in_days: float = -1,
    issuer: str = "",
    key_path: Path | None = None,
) -> Path:
    """Writes a certificate, which is self-signed when no `issuer` is given. Its key is written to `key_path`."""
    now = datetime.datetime.now(datetime.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    signed_by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]) if issuer else subject
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=min(starts_in_days, days - 1)))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, SHA256())
    )
    path.write_bytes(built.public_bytes(Encoding.PEM))
    if key_path is not None:
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.mark.parametrize(("days", "level"), [(90, Level.OK), (20, Level.WARNING), (2, Level.ERROR), (-1, Level.ERROR)])
async def test_the_expiry_of_a_certificate_gives_a_warning_in_time(tmp_path: Path, days: float, level: Level) -> None:
    path = write_certificate(tmp_path / "c.pem", "mx.example.com", days=days, issuer="An authority")
    assert (await one(machine_checks.certificate(path))).level is level


async def test_a_certificate_that_is_not_valid_yet_gives_an_error_about_the_clock(tmp_path: Path) -> None:
    path = write_certificate(tmp_path / "c.pem", "mx.example.com", starts_in_days=2, issuer="An authority")
    result = await one(machine_checks.certificate(path))
    assert result.level is Level.ERROR
    assert "clock" in result.remedy


@pytest.mark.parametrize(
    ("names", "hostname", "level"),
    [
        (("mx.example.com",), "mx.example.com", Level.OK),
        (("other.example.com", "mx.example.com"), "mx.example.com", Level.OK),
        (("*.example.com",), "mx.example.com", Level.OK),
        (("*.example.com",), "a.mx.example.com", Level.WARNING),
        (("example.com",), "mx.example.com", Level.WARNING),
        (("example.com",), "", Level.OK),
    ],
)
async def test_a_certificate_must_be_for_the_hostname(
    tmp_path: Path, names: Sequence[str], hostname: str, level: Level
) -> None:
    path = write_certificate(tmp_path / "c.pem", *names, issuer="An authority")
    assert (await one(machine_checks.certificate(path, lambda: hostname))).level is level


async def test_a_self_signed_certificate_gives_a_warning_where_other_mail_servers_see_it(tmp_path: Path) -> None:
    path = write_certificate(tmp_path / "c.pem", "mx.example.com")
    assert "signed by itself" in (await one(machine_checks.certificate(path, public=True))).text
    assert (await one(machine_checks.certificate(path))).level is Level.OK


async def test_an_invalid_certificate_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c.pem"
    assert (await one(machine_checks.certificate(path))).level is Level.ERROR
    path.write_text("no PEM")
    assert (await one(machine_checks.certificate(path))).level is Level.ERROR


ROOT = {".": {"SOA": "a.root. b.root. 1 2 3 4 5"}}


async def test_name_servers_without_dnssec_or_without_answers_give_a_warning() -> None:
    with DnsServer(ROOT) as good, DnsServer(ROOT) as careless, DnsServer(ROOT) as broken:
        good.secure(".")
        broken.behave(".", Behaviour.SERVFAIL)

        async def look(*servers: DnsServer) -> CheckResult:
            named = [server.address for server in servers]
            return await one(machine_checks.name_servers(lambda: name_server_check.look(named, tuple)))

        assert (await look(good)).level is Level.OK
        result = await look(good, careless)
        assert result.level is Level.WARNING
        assert careless.address in result.text
        assert good.address not in result.text
        result = await look(good, broken)
        assert (result.level, "do not answer" in result.text) == (Level.WARNING, True)
        assert (await look(broken)).level is Level.ERROR


async def test_without_settings_the_name_servers_of_the_system_are_checked() -> None:
    with DnsServer(ROOT) as server:
        system = lambda: [server.address]  # noqa: E731
        assert [each[0] for each in await name_server_check.look((), system)] == [server.address]
    none = await one(machine_checks.name_servers(lambda: name_server_check.look((), tuple)))
    assert none.level is Level.ERROR
