"""TLS with a next hop: opportunistic, required, and when the handshake fails."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from services.relay.configuration.model import RelayHost
from services.relay.delivery.targets.tls import BrokenTls, Contexts, server_name
from services.relay.model.attempt import Result
from tests.peers.dns import DnsServer
from tests.peers.smtp_sink import Close, Ending, Offer, SmtpSink, Stage, UpgradeBroken, in_packets, reply
from tests.relay.delivery.conftest import CONTENT, Gateway, MxHosts

HOST = "hub.test"
MakeSink = Callable[..., SmtpSink]


@pytest.fixture
def tls_sink(certificates: trustme.CA, dns_server: DnsServer) -> Iterator[MakeSink]:
    """Makes SMTP sinks that have a certificate for hub.test or for another name."""
    made: list[SmtpSink] = []

    def make(
        offer: Offer | None = None, name: str = HOST, authority: trustme.CA | None = None, **more: object
    ) -> SmtpSink:
        leaf = (authority or certificates).issue_cert(name)
        sink = SmtpSink(offer, certificate=leaf, **more).start()  # type: ignore[arg-type]
        made.append(sink)
        dns_server.replace(HOST, "A", sink.host)
        return sink

    yield make
    for sink in made:
        sink.stop()


# Opportunistic TLS (C127)


async def test_tls_is_used_when_offered_and_recorded(gateway: Gateway, tls_sink: MakeSink) -> None:
    sink = tls_sink()
    gateway.by_relay_host(sink, host=HOST)
    outcome = await gateway.deliver_one()
    assert outcome.result is Result.DELIVERED
    assert outcome.tls.startswith("TLSv1.3 ")
    assert outcome.tls_policy == "opportunistic"
    (session,) = sink.sessions
    assert session.verbs[:3] == ["EHLO", "STARTTLS", "EHLO"]


async def test_without_an_offer_of_tls_mail_goes_in_plaintext(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    gateway.by_relay_host(smtp_sink)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.tls, outcome.tls_policy) == (Result.DELIVERED, "", "opportunistic")


@pytest.mark.parametrize("fault", ["self-signed", "wrong-name", "expired"])
async def test_opportunistic_tls_ignores_certificates(
    gateway: Gateway, tls_sink: MakeSink, certificates: trustme.CA, fault: str
) -> None:
    sink = _faulty(tls_sink, certificates, fault)
    gateway.by_relay_host(sink, host=HOST)
    outcome = await gateway.deliver_one()
    assert outcome.result is Result.DELIVERED
    assert outcome.tls


def _faulty(tls_sink: MakeSink, certificates: trustme.CA, fault: str) -> SmtpSink:
    if fault == "self-signed":
        return tls_sink(authority=trustme.CA())
    if fault == "wrong-name":
        return tls_sink(name="other.test")
    leaf = certificates.issue_cert(HOST, not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    sink = tls_sink()
    assert sink._context is not None
    leaf.configure_cert(sink._context)
    return sink


@pytest.mark.parametrize("broken", [UpgradeBroken(), "closed", "old"])
async def test_a_failed_handshake_is_followed_by_plaintext_once_and_remembered(
    gateway: Gateway, tls_sink: MakeSink, broken: UpgradeBroken | str
) -> None:
    if broken == "old":
        sink = tls_sink(tls_versions=(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1))
    else:
        sink = tls_sink()
        steps = (reply("220 Ready"), Close()) if broken == "closed" else (UpgradeBroken(),)
        sink.on(Stage.STARTTLS, *steps)
    gateway.by_relay_host(sink, host=HOST)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.tls, outcome.tls_policy) == (Result.DELIVERED, "", "opportunistic")
    assert len(sink.sessions) == 2
    # The next connection does not try TLS with this host again.
    gateway.configuration_is(hostname="again.posthouse.test")
    assert (await gateway.deliver_one()).result is Result.DELIVERED
    assert len(sink.sessions) == 3
    assert "STARTTLS" not in sink.sessions[2].verbs


@pytest.mark.parametrize("always", [False, True])
async def test_tls_that_ends_right_after_the_handshake_counts_as_failed(
    gateway: Gateway, tls_sink: MakeSink, certificates: trustme.CA, always: bool
) -> None:
    """C127: in TLS 1.3 the client finishes its handshake before the server has checked the client's certificate."""
    sink = tls_sink(tls_versions=(ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3))
    assert sink._context is not None
    certificates.configure_trust(sink._context)
    sink._context.verify_mode = ssl.CERT_REQUIRED
    gateway.by_relay_host(sink, host=HOST, always_tls=always, verify_certificate=False)
    outcome = await gateway.deliver_one()
    assert outcome.result is (Result.DEFERRED if always else Result.DELIVERED)
    assert (outcome.tls == "" or always, len(sink.sessions)) == (True, 1 if always else 2)
    assert all(b"MAIL" not in session.octets for session in sink.sessions if always)


async def test_after_a_refused_starttls_mail_goes_in_plaintext(gateway: Gateway, tls_sink: MakeSink) -> None:
    sink = tls_sink()
    sink.on(Stage.STARTTLS, reply("454 4.7.0 Not now"))
    gateway.by_relay_host(sink, host=HOST)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.tls) == (Result.DELIVERED, "")
    assert len(sink.sessions) == 1


def test_broken_tls_is_forgotten_after_an_hour() -> None:
    now = 0.0
    broken = BrokenTls(lambda: now)
    broken.remember("192.0.2.1", 25)
    now = 3599
    assert broken.known("192.0.2.1", 25)
    assert not broken.known("192.0.2.1", 465)
    now = 3600
    assert not broken.known("192.0.2.1", 25)


# Required TLS


@pytest.mark.parametrize(
    ("step", "status"),
    [
        ((UpgradeBroken(),), "4.7.5"),
        ((reply("220 Ready"), Close()), "4.7.5"),
        ((reply("454 4.7.0 Not now"),), "4.7.4"),
        ((reply("502 5.5.1 What?"),), "4.7.4"),
    ],
)
async def test_required_tls_allows_no_plaintext_and_causes_no_loop(
    gateway: Gateway, tls_sink: MakeSink, step: tuple[Close, ...], status: str
) -> None:
    """Cases C125 and C127 of docs/cases.md describe this behaviour."""
    sink = tls_sink()
    sink.on(Stage.STARTTLS, *step)
    gateway.by_relay_host(sink, host=HOST, always_tls=True)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.enhanced_code, outcome.tls_policy) == (Result.DEFERRED, status, "required")
    assert len(sink.sessions) == 1
    assert b"MAIL" not in sink.sessions[0].octets


async def test_mail_is_deferred_when_required_tls_is_not_offered(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    """Case C127 of docs/cases.md describes this behaviour."""
    gateway.by_relay_host(smtp_sink, always_tls=True)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.7.4")
    assert "MAIL" not in smtp_sink.sessions[0].verbs


@pytest.mark.parametrize("fault", ["self-signed", "wrong-name", "expired"])
@pytest.mark.parametrize("always", [True, False])
async def test_a_required_certificate_must_be_valid(
    gateway: Gateway, tls_sink: MakeSink, certificates: trustme.CA, authority_file: Path, fault: str, always: bool
) -> None:
    sink = _faulty(tls_sink, certificates, fault)
    gateway.options_are(ca_file=authority_file)
    gateway.by_relay_host(sink, host=HOST, always_tls=always, verify_certificate=True)
    outcome = await gateway.deliver_one()
    assert outcome.result is Result.DEFERRED
    assert "certificate" in outcome.text
    assert not any(b"MAIL" in session.octets for session in sink.sessions)


async def test_a_good_certificate_is_accepted(gateway: Gateway, tls_sink: MakeSink, authority_file: Path) -> None:
    sink = tls_sink()
    gateway.options_are(ca_file=authority_file)
    gateway.by_relay_host(sink, host=HOST, always_tls=True, verify_certificate=True)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "required")


async def test_implicit_tls_speaks_no_plaintext(gateway: Gateway, tls_sink: MakeSink, authority_file: Path) -> None:
    sink = tls_sink(Offer(implicit_tls=True))
    gateway.options_are(ca_file=authority_file)
    gateway.by_relay_host(sink, host=HOST, implicit_tls=True, verify_certificate=True)
    assert (await gateway.deliver_one()).result is Result.DELIVERED
    tls = sink.sessions[0].tls
    assert tls is not None
    assert (tls.implicit, tls.server_name) == (True, HOST)
    assert "STARTTLS" not in sink.sessions[0].verbs


async def test_mail_is_deferred_when_the_server_does_not_support_implicit_tls(
    gateway: Gateway, smtp_sink: SmtpSink
) -> None:
    gateway.by_relay_host(smtp_sink, implicit_tls=True)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.7.5")
    assert smtp_sink.messages == []


# Names in certificates (C128)


async def test_the_server_name_is_that_of_the_mx_host(
    gateway: Gateway, mx_hosts: MxHosts, certificates: trustme.CA
) -> None:
    sink = mx_hosts.add("example.net", 1, "mx.example.test", certificate=certificates.issue_cert("mx.example.test"))
    assert (await gateway.deliver_one()).tls
    tls = sink.sessions[0].tls
    assert tls is not None
    assert tls.server_name == "mx.example.test"


async def test_an_address_is_checked_but_never_sent_as_a_name(
    gateway: Gateway, tls_sink: MakeSink, authority_file: Path
) -> None:
    sink = tls_sink(name="127.0.0.1")
    gateway.options_are(ca_file=authority_file)
    gateway.by_relay_host(sink, always_tls=True, verify_certificate=True)
    assert (await gateway.deliver_one()).result is Result.DELIVERED
    tls = sink.sessions[0].tls
    assert tls is not None
    assert tls.server_name is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("MX.example.", "mx.example"),
        ("m\u00fcller.example", "xn--mller-kva.example"),
        ("xn--mller-kva.example", "xn--mller-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
    ],
)
def test_server_names_are_a_labels_without_a_trailing_dot(host: str, name: str) -> None:
    assert server_name(host) == name


# Injected replies before the handshake (C125)


@pytest.mark.parametrize("packets", [1, 2])
async def test_replies_from_before_the_handshake_are_dropped(
    gateway: Gateway, tls_sink: MakeSink, authority_file: Path, packets: int
) -> None:
    sink = tls_sink()
    injected = b"250-sink.test\r\n250-AUTH PLAIN\r\n250 SIZE 1\r\n"
    parts = [b"220 Ready\r\n" + injected] if packets == 1 else [b"220 Ready\r\n", injected]
    sink.on(Stage.STARTTLS, *in_packets(*parts), Close(), times=1)
    gateway.options_are(ca_file=authority_file)
    gateway.by_relay_host(sink, host=HOST, always_tls=True, verify_certificate=True)
    outcome = await gateway.deliver_one()
    # The peer closes the connection after the injected octets. Relay must not use any of them as an answer.
    assert outcome.result is Result.DEFERRED
    assert b"MAIL" not in sink.sessions[0].octets


async def test_after_an_injection_only_replies_under_tls_are_used(gateway: Gateway, certificates: trustme.CA) -> None:
    """CVE-2026-55558: the injected answer offers BDAT, pipelining and a size, none of which the server has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.issue_cert("127.0.0.1").configure_cert(context)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink.test\r\n")
        answers = {b"EHLO": b"250-sink.test\r\n250 STARTTLS\r\n", b"DATA": b"354 Go\r\n", b"QUIT": b"221 Bye\r\n"}
        while line := await reader.readline():
            heard.append(line)
            if line == b"STARTTLS\r\n":
                writer.write(b"220 Go\r\n250-sink.test\r\n250-CHUNKING\r\n250-PIPELINING\r\n250 SIZE 1\r\n")
                await writer.start_tls(context)
                answers[b"EHLO"] = b"250-sink.test\r\n250 8BITMIME\r\n"
                continue
            if line == b"DATA\r\n":
                writer.write(answers[b"DATA"])
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 2.0.0 Kept\r\n")
                continue
            writer.write(answers.get(line[:4], b"250 2.0.0 Ok\r\n"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gateway.options_are(chunking=True)
    gateway.configuration_is(relay_host=RelayHost("127.0.0.1", port, always_tls=True))
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.text) == (Result.DELIVERED, "2.0.0 Kept")
    assert [line.split()[0] for line in heard] == [b"EHLO", b"STARTTLS", b"EHLO", b"MAIL", b"RCPT", b"DATA"]
    await gateway.transport.close(1)
    server.close()


async def test_capabilities_are_those_after_the_handshake(gateway: Gateway, tls_sink: MakeSink) -> None:
    sink = tls_sink()
    sink.on(Stage.EHLO, reply("250-sink.test", "250-STARTTLS", "250-SMTPUTF8", "250 SIZE 10"), times=1)
    gateway.by_relay_host(sink, host=HOST, always_tls=True)
    assert (await gateway.deliver_one(content=CONTENT)).result is Result.DELIVERED
    assert len(CONTENT) > 10


async def test_sessions_over_tls_end_with_quit(gateway: Gateway, tls_sink: MakeSink) -> None:
    sink = tls_sink()
    gateway.by_relay_host(sink, host=HOST)
    for _ in range(3):
        assert (await gateway.deliver_one()).result is Result.DELIVERED
    await gateway.transport.close(1)
    (session,) = await sink.sessions_ended(1)
    assert session.ending is Ending.QUIT


async def test_a_large_message_is_sent_completely_over_tls(gateway: Gateway, tls_sink: MakeSink) -> None:
    sink = tls_sink()
    gateway.by_relay_host(sink, host=HOST)
    content = b"line with a dot\r\n.and one more\r\n" * 200_000
    assert (await gateway.deliver_one(content=content)).result is Result.DELIVERED
    assert sink.messages[0].content == content


def test_authorities_that_are_replaced_while_relay_runs_are_trusted(tmp_path: Path) -> None:
    """The file of certificate authorities may be replaced while relay runs."""
    now, file = 0.0, tmp_path / "ca.pem"
    first, second = trustme.CA(), trustme.CA()

    def trusts(authority: trustme.CA) -> bool:
        der = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
        return der in contexts.verifying.get_ca_certs(binary_form=True)

    file.write_bytes(first.cert_pem.bytes())
    contexts = Contexts(file, lambda: now)
    assert (trusts(first), trusts(second)) == (True, False)
    for content, expected in ((b"half a file", (True, False)), (second.cert_pem.bytes(), (False, True))):
        file.write_bytes(content)
        os.utime(file, ns=(0, int(now) + 1))
        now += 60
        assert (trusts(first), trusts(second)) == expected
    unchanged = contexts.verifying
    now += 60
    assert contexts.verifying is unchanged
