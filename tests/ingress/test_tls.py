"""STARTTLS and implicit TLS: forgotten state, server names, reloading, failures, tickets (RFC 3207; C74 to C79)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import os
import pty
import socket
import ssl
import stat
import termios
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from posthouse.policy.v1 import policy_pb2 as pb
from structlog.testing import capture_logs

from libs.runtime.lifecycle import StartupError
from services.ingress.metrics import Metrics
from services.ingress.session import Listener
from services.ingress.tls import Certificates, TlsOptions, self_signed
from tests.ingress.client import Client, trusting_context
from tests.ingress.conftest import Ingress, Start

OPTIONS = TlsOptions("TLSv1.2", "", session_tickets=True)
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def write(folder: Path, name: str, issued: trustme.LeafCert) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


async def test_c74_login_greeting_and_transaction_before_tls_are_forgotten(ingress: Ingress) -> None:
    ingress.policy.profile.auth_mechanisms_plaintext[:] = ["PLAIN"]
    client = await ingress.client()
    assert (await client.login()).code == 235
    await client.envelope()
    assert (await client.command("STARTTLS")).code == 220
    await client.start_tls()
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 503
    assert (await client.command("EHLO client.example")).code == 250
    await client.envelope()
    last = ingress.policy.asked(pb.STAGE_RCPT)[-1].session
    assert last.account_login == ""
    assert last.tls.version == "TLSv1.3"
    assert last.tls.server_name == "localhost"


async def test_c75_starttls_accepts_no_argument_and_works_only_once(ingress: Ingress) -> None:
    """Case P9 of docs/cases.md describes this behaviour."""
    client = await ingress.client()
    assert (await client.command("STARTTLS foo")).code == 501
    await client.starttls()
    assert (await client.command("STARTTLS")).code == 503
    assert (await client.send_mail()).code == 250
    direct = await ingress.client(Listener.SUBMISSIONS)
    assert (await direct.command("STARTTLS")).code == 503


@pytest.mark.parametrize("listener", [Listener.SMTP, Listener.SUBMISSIONS])
@pytest.mark.parametrize("how", ["garbage", "silence", "close", "reset"])
async def test_c76_a_handshake_that_fails_frees_its_slot(
    start: Start, caplog: pytest.LogCaptureFixture, listener: Listener, how: str
) -> None:
    ingress = await start(handshake_seconds=0.4)
    if listener is Listener.SMTP:
        client = await ingress.client()
        assert (await client.command("STARTTLS")).code == 220
    else:
        client = await ingress.connect(listener)
    if how == "garbage":
        client.send(b"this is no TLS record at all, but long enough for one\r\n" * 3)
    if how in ("garbage", "silence"):
        await client.until_closed()
    elif how == "close":
        client.close()
    else:
        client.reset()
    await ingress.until_empty()
    # Nothing reaches the event loop's exception handler, which would log it.
    assert not caplog.records
    assert ingress.metrics.sessions_ended


async def test_plaintext_commands_on_the_tls_port_are_not_answered_in_plaintext(ingress: Ingress) -> None:
    client = await ingress.connect(Listener.SUBMISSIONS)
    client.send(b"EHLO client.example\r\n")
    assert not (await client.until_closed()).startswith(b"2")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("tickets", [True, False])
async def test_c77_sessions_are_resumed_unless_tickets_are_off(
    start: Start, version: ssl.TLSVersion, tickets: bool
) -> None:
    ingress = await start(tls_session_tickets=tickets)
    context = trusting_context()
    context.minimum_version = context.maximum_version = version

    def connect(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:

        with (
            socket.create_connection(("127.0.0.1", ingress.port(Listener.SUBMISSIONS)), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
        ):
            assert secure.recv(100).startswith(b"220")
            secure.sendall(b"QUIT\r\n")
            assert secure.recv(100).startswith(b"221")
            return bool(secure.session_reused), secure.session

    reused, session = await asyncio.to_thread(connect, None)
    assert not reused
    assert session is not None
    assert session.has_ticket is tickets
    reused, _ = await asyncio.to_thread(connect, session)
    # TLS 1.2 can also resume a session by its id, without a ticket.
    assert reused is (tickets or version is ssl.TLSVersion.TLSv1_2)


async def test_tls_versions_come_from_the_environment(start: Start) -> None:
    ingress = await start(tls_min_version="TLSv1.3")
    context = trusting_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = await ingress.connect(Listener.SUBMISSIONS)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await client.start_tls(context)


async def test_old_tls_versions_are_refused_by_default(ingress: Ingress) -> None:
    context = trusting_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    client = await ingress.connect(Listener.SUBMISSIONS)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await client.start_tls(context)


async def test_ciphers_come_from_the_environment(start: Start) -> None:
    ingress = await start(tls_ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
    context = trusting_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = await ingress.connect(Listener.SUBMISSIONS)
    found = await client.start_tls(context)
    assert found.cipher() is not None
    assert found.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"  # type: ignore[index]


async def _names(ingress: Ingress, server_name: str, authority: trustme.CA) -> list[str]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.check_hostname = False
    client = await ingress.connect(Listener.SUBMISSIONS)
    found = await client.start_tls(context, server_name)
    loaded = x509.load_der_x509_certificate(found.getpeercert(binary_form=True) or b"")
    client.close()
    alternative = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return alternative.get_values_for_type(x509.DNSName)


async def test_sni_chooses_among_several_certificates(start: Start, tmp_path: Path, certificates: trustme.CA) -> None:
    pairs = [
        write(tmp_path, "one", certificates.issue_cert("mx.example.com")),
        write(tmp_path, "two", certificates.issue_cert("mail.example.net", "*.wild.example")),
    ]
    ingress = await start(
        tls_cert=",".join(str(pair[0]) for pair in pairs), tls_key=",".join(str(pair[1]) for pair in pairs)
    )
    assert await _names(ingress, "mx.example.com", certificates) == ["mx.example.com"]
    assert "mail.example.net" in await _names(ingress, "MAIL.example.net", certificates)
    assert "*.wild.example" in await _names(ingress, "a.wild.example", certificates)
    assert await _names(ingress, "a.b.wild.example", certificates) == ["mx.example.com"]
    assert await _names(ingress, "unknown.example", certificates) == ["mx.example.com"]


async def test_c79_a_renewed_certificate_is_used_and_an_invalid_one_is_not(
    start: Start, tmp_path: Path, certificates: trustme.CA
) -> None:
    certificate, key = write(tmp_path, "pair", certificates.issue_cert("old.example.com"))
    ingress = await start(tls_cert=str(certificate), tls_key=str(key))
    served = ingress.worker.context.certificates
    client = await ingress.client(Listener.SUBMISSIONS)

    write(tmp_path, "pair", certificates.issue_cert("new.example.com"))
    served.reload()
    assert await _names(ingress, "x.example", certificates) == ["new.example.com"]
    # The session that began before the change goes on.
    assert (await client.command("NOOP")).code == 250

    # First the key belongs to another certificate, then the certificate is malformed, and then it is missing.
    certificates.issue_cert("other.example.com").private_key_pem.write_to_path(key)
    served.reload()
    assert await _names(ingress, "x.example", certificates) == ["new.example.com"]
    certificate.write_text("nonsense")
    served.reload()
    certificate.unlink()
    served.reload()
    assert await _names(ingress, "x.example", certificates) == ["new.example.com"]
    assert ingress.metrics.certificate_failures == 3

    write(tmp_path, "pair", certificates.issue_cert("third.example.com"))
    served.reload()
    assert await _names(ingress, "x.example", certificates) == ["third.example.com"]


def test_a_worker_does_not_start_with_an_invalid_first_pair(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("nonsense")
    with pytest.raises(StartupError, match="TLS certificate"):
        Certificates([(tmp_path / "a", tmp_path / "a")], OPTIONS, Metrics())
    with pytest.raises(StartupError, match="TLS certificate"):
        Certificates([(tmp_path / "none", tmp_path / "none")], OPTIONS, Metrics())


def test_c79_the_self_signed_certificate_is_valid_for_a_year_and_private(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path / "tls", "localhost", NOW)
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert loaded.not_valid_before_utc < NOW
    assert loaded.not_valid_after_utc == NOW + datetime.timedelta(days=365)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    Certificates([(certificate, key)], OPTIONS, Metrics())


def test_the_self_signed_certificate_is_used_until_it_expires_soon(tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path, "localhost", NOW)
    first = certificate.read_bytes()
    self_signed(tmp_path, "localhost", NOW + datetime.timedelta(days=300))
    assert certificate.read_bytes() == first
    self_signed(tmp_path, "localhost", NOW + datetime.timedelta(days=340))
    assert certificate.read_bytes() != first


@pytest.mark.parametrize("name", ["ingress", "self-signed"])
def test_f16_a_pair_of_the_operator_is_used_and_never_overwritten(
    tmp_path: Path, certificates: trustme.CA, name: str
) -> None:
    leaf = certificates.issue_cert("localhost", not_after=NOW + datetime.timedelta(days=3))
    certificate, key = tmp_path / f"{name}.crt", tmp_path / f"{name}.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    contents = certificate.read_bytes(), key.read_bytes()
    assert self_signed(tmp_path, "localhost", NOW) == (certificate, key)
    assert (certificate.read_bytes(), key.read_bytes()) == contents


def test_f16_a_self_signed_pair_of_an_earlier_release_is_not_overwritten(tmp_path: Path) -> None:
    made = self_signed(tmp_path, "localhost", NOW)
    earlier = tmp_path / "ingress.crt", tmp_path / "ingress.key"
    for path, name in zip(made, earlier, strict=True):
        path.rename(name)
    contents = earlier[0].read_bytes()
    assert self_signed(tmp_path, "localhost", NOW) == made
    assert earlier[0].read_bytes() == contents


async def test_renegotiation_is_turned_off(ingress: Ingress) -> None:
    context = trusting_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = await ingress.connect(Listener.SUBMISSIONS)
    await client.start_tls(context)
    assert ingress.worker.context.certificates.context().options & ssl.OP_NO_RENEGOTIATION


async def test_tls_records_of_any_size_are_read(ingress: Ingress) -> None:
    client: Client = await ingress.client(Listener.SUBMISSIONS)
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    body = b"Subject: x\r\n\r\n" + b"".join(b"%068d\r\n" % number for number in range(5000))
    for start in range(0, len(body), 16_411):
        await client.send_all(body[start : start + 16_411])
    client.send(b".\r\n")
    assert (await client.reply()).code == 250
    assert ingress.relay.messages[0].content.endswith(body)


def _encrypted(folder: Path, issued: trustme.LeafCert) -> Path:
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    path = folder / "encrypted.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    return path


def test_f10_a_key_with_a_passphrase_is_refused_and_the_old_pair_stays_in_use(tmp_path: Path) -> None:
    """OpenSSL would ask for the passphrase at the process's terminal, and block the event loop until it is typed."""
    issued = trustme.CA().issue_cert("mx.example.com")
    certificate, key = write(tmp_path, "pair", issued)
    metrics = Metrics()
    certificates = Certificates([(certificate, key)], OPTIONS, metrics)
    before = certificates.context()
    key.write_bytes(_encrypted(tmp_path, issued).read_bytes())
    controller, terminal = pty.openpty()
    child = os.fork()
    if child == 0:
        # The child gets a terminal of its own, where a question would be visible.
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        with capture_logs() as lines:
            certificates.reload()
        (line,) = lines
        said = str(key) in line["reason"] and "passphrase" in line["reason"]
        os._exit(0 if said and certificates.context() is before and metrics.certificate_failures == 1 else 1)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    os.set_blocking(controller, False)
    with contextlib.suppress(OSError):
        # Nothing was written to the terminal.
        assert os.read(controller, 100) == b""
    os.close(controller)
    assert os.waitstatus_to_exitcode(status) == 0


def test_f10_a_start_with_a_key_with_a_passphrase_fails_at_once(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("mx.example.com")
    certificate, _ = write(tmp_path, "pair", issued)
    with pytest.raises(StartupError, match=r"encrypted\.key: the key is protected by a passphrase"):
        Certificates([(certificate, _encrypted(tmp_path, issued))], OPTIONS, Metrics())


@pytest.mark.parametrize("which", [0, 1], ids=["certificate", "key"])
def test_f10_a_pipe_in_place_of_a_certificate_is_refused(tmp_path: Path, which: int) -> None:
    pair = list(write(tmp_path, "pair", trustme.CA().issue_cert("mx.example.com")))
    certificates = Certificates([(pair[0], pair[1])], OPTIONS, metrics := Metrics())
    pair[which].unlink()
    os.mkfifo(pair[which])
    with capture_logs() as lines:
        certificates.reload()
    assert lines[0]["reason"] == f"{pair[which]}: not a regular file"
    assert metrics.certificate_failures == 1
