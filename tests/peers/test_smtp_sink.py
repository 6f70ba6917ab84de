"""Real clients and plain sockets see that the scripted SMTP peer keeps every octet and follows its script."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import aiosmtplib
import pytest
import trustme

from tests.peers.background import NotReachedError
from tests.peers.ports import free_address, free_port
from tests.peers.smtp_sink import (
    Close,
    Ending,
    Endless,
    Offer,
    Proceed,
    Reset,
    SmtpSink,
    Stage,
    UpgradeBroken,
    in_packets,
    reply,
)

BODY = b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\nlast\r\n"


class Raw:
    """A client on a plain socket. It sends octets and reads until a complete line contains the expected octets."""

    def __init__(self, sink: SmtpSink) -> None:
        self.socket = socket.create_connection((sink.host, sink.port), timeout=60)
        self.seen = b""

    def until(self, wanted: bytes) -> bytes:
        """Returns everything received since the last call, once it contains `wanted`."""
        while wanted not in self.seen or not self.seen.endswith(b"\n"):
            octets = self.socket.recv(65536)
            if not octets:
                raise EOFError(self.seen)
            self.seen += octets
        seen, self.seen = self.seen, b""
        return seen

    def say(self, octets: bytes, wanted: bytes) -> bytes:
        self.socket.sendall(octets)
        return self.until(wanted)

    def to_data(self) -> None:
        """Sends the commands of a session up to the reply 354."""
        self.until(b"220 ")
        self.say(b"EHLO client.test\r\n", b"250 ")
        self.say(b"MAIL FROM:<a@b.test>\r\n", b"250 ")
        self.say(b"RCPT TO:<c@d.test>\r\n", b"250 ")
        self.say(b"DATA\r\n", b"354 ")


@contextmanager
def raw(sink: SmtpSink) -> Iterator[Raw]:
    client = Raw(sink)
    with client.socket:
        yield client


@contextmanager
def client_of(sink: SmtpSink) -> Iterator[smtplib.SMTP]:
    client = smtplib.SMTP(sink.host, sink.port, "client.test", timeout=60)
    try:
        yield client
    finally:
        client.close()


def packets_received(connection: socket.socket) -> int:
    """Returns the number of data segments received so far: tcpi_data_segs_in of Linux's struct tcp_info.

    A read could join segments that came separately, so the number of reads does not show the number of segments.
    """
    (count,) = struct.unpack_from("I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 152)
    return int(count)


def trusting(certificates: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    certificates.configure_trust(context)
    return context


def test_a_message_is_kept_as_sent_and_unstuffed(smtp_sink: SmtpSink) -> None:
    with client_of(smtp_sink) as client:
        client.sendmail("a@b.test", ["c@d.test", "e@f.test"], BODY, mail_options=["BODY=8BITMIME"])
        client.quit()
    (message,) = smtp_sink.wait_for_messages(1)
    assert message.content == BODY
    assert message.raw == b"Subject: dots\r\n\r\n..\r\n...\r\n..a\r\nlast\r\n"
    assert (message.sender, message.parameters) == (b"a@b.test", (b"size=34", b"BODY=8BITMIME"))
    assert message.accepted_recipients == [b"c@d.test", b"e@f.test"]
    assert (message.header, message.body) == (b"Subject: dots", b".\r\n..\r\n.a\r\nlast\r\n")
    (session,) = smtp_sink.wait_for_sessions(1)
    assert session.verbs == ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"]
    assert (session.helo, session.ending) == (b"client.test", Ending.QUIT)
    assert message.raw in session.octets


def test_only_the_right_dot_ends_the_content(smtp_sink: SmtpSink) -> None:
    tricks = b"a\n.\nb\r\n.\nc\n.\r\nd\r.\re\r\n.\r\r\n"
    with raw(smtp_sink) as client:
        client.to_data()
        for octet in tricks + b".\r\n":
            client.socket.sendall(bytes([octet]))
        client.until(b"250 ")
        client.say(b"MAIL FROM:<empty@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n", b"354 ")
        client.say(b".\r\n", b"250 ")
    first, second = smtp_sink.wait_for_messages(2)
    assert first.raw == tricks
    assert (second.raw, second.content) == (b"", b"")
    assert smtp_sink.wait_for_sessions(1)[0].pipelined == 2


def test_protocol_errors_are_refused_as_a_strict_server_does(smtp_sink: SmtpSink) -> None:
    smtp_sink.offer = Offer(dsn=False, smtputf8=False, eight_bit=False, size=1000)
    dialogue = (
        (b"MAIL FROM:<a@b.test>", b"503"),
        (b"EHLO x.test", b"250-"),
        (b"RCPT TO:<c@d.test>", b"503"),
        (b"MAIL FROM:a@b.test", b"501"),
        (b"MAIL FROM:<a@b.test> BODY=8BITMIME", b"555"),
        (b"MAIL FROM:<a@b.test> SMTPUTF8", b"555"),
        (b"MAIL FROM:<a@b.test> RET=HDRS", b"555"),
        (b"MAIL FROM:<a@b.test> SIZE=1001", b"552"),
        (b"MAIL FROM:<a@b.test> SIZE=some", b"501"),
        (b"RCPT FROM:<a@b.test>", b"503"),
        (b"MAIL FROM:<> SIZE=1000", b"250"),
        (b"MAIL FROM:<a@b.test>", b"503"),
        (b"DATA", b"554"),
        (b'RCPT TO:<"a > b"@d.test>', b"250"),
        (b"RCPT TO:<c@d.test> NOTIFY=NEVER", b"555"),
        (b"BDAT 3 LAST", b"502"),
        (b"STARTTLS", b"502"),
        (b"AUTH PLAIN", b"502"),
        (b"WHAT", b"500"),
        (b"RSET", b"250"),
        (b"DATA", b"503"),
        (b"HELO x.test", b"250"),
        (b"MAIL FROM:<a@b.test> SIZE=1", b"555"),
        (b"QUIT", b"221"),
    )
    with raw(smtp_sink) as client:
        client.until(b"220 ")
        for command, code in dialogue:
            assert client.say(command + b"\r\n", b" ").startswith(code), command


def test_chunks_are_counted_and_joined(smtp_sink: SmtpSink) -> None:
    smtp_sink.offer = Offer(chunking=True)
    with raw(smtp_sink) as client:
        client.until(b"220 ")
        assert b"250-CHUNKING\r\n" in client.say(b"EHLO x.test\r\n", b"250 SIZE")
        client.say(b"BDAT 11\r\nMAIL FROM:\r\nMAIL FROM:<a@b.test>\r\n", b"250 2.1.0")
        client.say(b"RCPT TO:<c@d.test>\r\nBDAT 5\r\n.\r\n.\rBDAT 3 LAST\r\n\n\r\n", b"250 2.0.0 Kept")
    (message,) = smtp_sink.wait_for_messages(1)
    assert (message.content, message.raw, message.via) == (b".\r\n.\r\n\r\n", b".\r\n.\r\n\r\n", "BDAT")
    assert message.chunk_sizes == [5, 3]


def test_replies_are_scripted_by_stage_recipient_and_number(smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.RCPT, reply("550 5.1.1 Unknown"), address="bad@d.test")
    smtp_sink.on(Stage.RCPT, reply("451-4.7.1 Grey", "451 4.7.1 listed"), address="grey@d.test", times=1)
    smtp_sink.on(Stage.END_OF_DATA, reply("452 4.3.1 Full"), session=1)
    recipients = ["good@d.test", "bad@d.test", "grey@d.test"]
    with client_of(smtp_sink) as client, pytest.raises(smtplib.SMTPDataError) as failure:
        client.sendmail("a@b.test", recipients, BODY)
    assert failure.value.smtp_code == 452
    with client_of(smtp_sink) as client:
        assert list(client.sendmail("a@b.test", recipients, BODY)) == ["bad@d.test"]
    refused, kept = smtp_sink.transactions
    assert [recipient.code for recipient in refused.recipients] == [250, 550, 451]
    assert (refused.code, refused.complete, refused.accepted) == (452, True, False)
    assert smtp_sink.messages == [kept]
    assert kept.accepted_recipients == [b"good@d.test", b"grey@d.test"]


async def test_a_reply_waits_for_its_gate(smtp_sink: SmtpSink) -> None:
    gate = smtp_sink.hold(Stage.END_OF_DATA)
    async with aiosmtplib.SMTP(hostname=smtp_sink.host, port=smtp_sink.port, start_tls=False) as client:
        await client.mail("a@b.test")
        await client.rcpt("c@d.test")
        task = asyncio.create_task(client.data(BODY))
        await gate.reached()
        assert not task.done()
        assert smtp_sink.messages == []
        gate.open()
        assert (await task).code == 250
    assert len(await smtp_sink.messages_came(1)) == 1


def test_replies_arrive_in_the_packets_that_the_script_says(smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.NOOP, *in_packets("25", "0-one\r", "\n250 tw", "o\r\n"))
    with raw(smtp_sink) as client:
        client.until(b"220 ")
        before = packets_received(client.socket)
        assert client.say(b"NOOP\r\n", b"250 two") == b"250-one\r\n250 two\r\n"
        assert packets_received(client.socket) - before == 4


@pytest.mark.parametrize(("step", "error"), [(Close(), None), (Reset(), ConnectionResetError)])
@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA])
def test_connections_end_or_break_at_any_stage(
    smtp_sink: SmtpSink, stage: Stage, step: Close | Reset, error: type[Exception] | None
) -> None:
    smtp_sink.on(stage, step)

    def until_the_end() -> None:
        with raw(smtp_sink) as client:
            client.to_data()
            client.say(BODY + b".\r\n", b"250 ")

    with pytest.raises(error or EOFError):
        until_the_end()
    (session,) = smtp_sink.wait_for_sessions(1)
    assert session.ending is Ending.SERVER_CLOSED
    assert smtp_sink.messages == []
    assert [transaction.complete for transaction in smtp_sink.transactions] == {
        Stage.END_OF_DATA: [True],
        Stage.RCPT: [False],
        Stage.DATA: [False],
    }.get(stage, [])


def test_a_script_can_act_in_the_middle_of_the_content_and_the_received_part_is_kept(smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.CONTENT, Reset(), after_octets=10)
    with raw(smtp_sink) as client:
        client.to_data()
        with pytest.raises(ConnectionResetError):
            client.say(b"0123456789", b"never")
    (cut,) = smtp_sink.wait_for_transactions(1)
    assert (cut.raw, cut.complete, cut.code) == (b"0123456789", False, None)


def test_the_received_part_of_a_message_is_kept_when_the_client_disconnects(smtp_sink: SmtpSink) -> None:
    with raw(smtp_sink) as client:
        client.to_data()
        client.socket.sendall(b"half a mess")
    (cut,) = smtp_sink.wait_for_transactions(1)
    assert (cut.raw, cut.complete) == (b"half a mess", False)
    assert smtp_sink.wait_for_sessions(1)[0].ending is Ending.CLIENT_CLOSED


def test_late_replies_and_unexpected_421_replies_can_be_scripted(smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.IDLE, reply("421 4.4.2 Too idle"), Close())
    with raw(smtp_sink) as client:
        client.to_data()
        assert client.say(BODY + b".\r\n", b"421 ").startswith(b"250 2.0.0")
        with pytest.raises(EOFError):
            client.until(b"more")
    assert len(smtp_sink.messages) == 1


def test_an_endless_reply_ends_with_its_client(smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.EHLO, Endless(b"250-more\r\n"))
    with raw(smtp_sink) as client:
        client.until(b"220 ")
        client.socket.sendall(b"EHLO x.test\r\n")
        seen = 0
        while seen < 1_000_000:
            seen += len(client.socket.recv(65536))
    smtp_sink.wait_for_sessions(1)


def test_starttls_works_and_the_requested_server_name_is_recorded(certificates: trustme.CA) -> None:
    with SmtpSink(certificate=certificates.issue_cert("mx.example.test")) as sink:
        with raw(sink) as plain:
            plain.until(b"220 ")
            assert b"STARTTLS" in plain.say(b"EHLO x.test\r\n", b"250 ")
            plain.say(b"STARTTLS\r\n", b"220 ")
            with trusting(certificates).wrap_socket(plain.socket, server_hostname="mx.example.test") as tls:
                tls.sendall(b"EHLO x.test\r\n")
                assert b"STARTTLS" not in tls.recv(1000)
        (session,) = sink.wait_for_sessions(1)
    assert session.tls is not None
    assert (session.tls.version, session.tls.server_name, session.tls.implicit) == ("TLSv1.3", "mx.example.test", False)
    assert session.behind_starttls == b""


def test_plain_text_after_starttls_is_recorded_and_injected_replies_are_sent(certificates: trustme.CA) -> None:
    with SmtpSink(certificate=certificates.issue_cert("mx.example.test")) as sink:
        sink.on(Stage.STARTTLS, reply("220 ok", "250-AUTH PLAIN", "250 injected"))
        with raw(sink) as client:
            client.until(b"220 ")
            client.say(b"EHLO x.test\r\n", b"250 ")
            client.say(b"STARTTLS\r\nRSET\r\n", b"250 injected")
            with trusting(certificates).wrap_socket(client.socket, server_hostname="mx.example.test") as tls:
                tls.sendall(b"NOOP\r\n")
                assert tls.recv(100).startswith(b"250")
        (session,) = sink.wait_for_sessions(1)
    assert session.behind_starttls == b"RSET\r\n"
    assert session.verbs == ["EHLO", "STARTTLS", "NOOP"]


def test_broken_handshakes_and_old_versions_fail(certificates: trustme.CA) -> None:
    old = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1)
    certificate = certificates.issue_cert("mx.example.test")
    for sink in (SmtpSink(certificate=certificate), SmtpSink(certificate=certificate, tls_versions=old)):
        with sink:
            if sink._context is not None and sink._context.maximum_version != ssl.TLSVersion.TLSv1:
                sink.on(Stage.STARTTLS, UpgradeBroken())
            with client_of(sink) as client, pytest.raises((ssl.SSLError, OSError)):
                client.starttls(context=trusting(certificates))
            assert sink.wait_for_sessions(1)[0].tls is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize(("password", "code"), [("secret", 235), ("wrong", 535)])
async def test_logins_are_checked_over_implicit_tls(
    certificates: trustme.CA, mechanism: str, password: str, code: int
) -> None:
    offer = Offer(implicit_tls=True, logins={"joe": "secret"}, mechanisms=(mechanism,), auth_required=True)
    with SmtpSink(offer, certificate=certificates.issue_cert("127.0.0.1")) as sink:
        client = aiosmtplib.SMTP(
            hostname=sink.host, port=sink.port, use_tls=True, tls_context=trusting(certificates), timeout=60
        )
        async with client:
            await client.ehlo()
            assert (await client.execute_command(b"MAIL FROM:<a@b.test>")).code == 530
            if code == 235:
                await client.login("joe", password)
                assert (await client.execute_command(b"MAIL FROM:<a@b.test> AUTH=<>")).code == 250
            else:
                with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                    await client.login("joe", password)
        (session,) = await sink.sessions_ended(1)
    (login,) = session.logins
    assert (login.mechanism, login.username, login.accepted, login.tls) == (mechanism, "joe", code == 235, True)
    assert session.tls is not None
    assert session.tls.implicit


def test_passwords_are_not_accepted_before_tls(certificates: trustme.CA) -> None:
    with (
        SmtpSink(Offer(logins={"joe": "x"}), certificate=certificates.issue_cert("mx.test")) as sink,
        raw(sink) as client,
    ):
        client.until(b"220 ")
        assert b"AUTH" not in client.say(b"EHLO x.test\r\n", b"250 ")
        client.say(b"AUTH PLAIN AGpvZQB4\r\n", b"538 5.7.11")


def test_lmtp_answers_for_each_recipient() -> None:
    with SmtpSink(Offer(lmtp=True)) as sink:
        sink.on(Stage.END_OF_DATA, reply("552 5.2.2 Full"), address="full@d.test")
        with raw(sink) as client:
            client.until(b"220 ")
            client.say(b"EHLO x.test\r\n", b"502 ")
            client.say(b"LHLO x.test\r\n", b"250 ")
            client.say(b"MAIL FROM:<a@b.test>\r\n", b"250 ")
            client.say(b"RCPT TO:<ok@d.test>\r\nRCPT TO:<full@d.test>\r\nDATA\r\n", b"354 ")
            assert client.say(b".\r\n", b"552 ") == b"250 2.0.0 Kept\r\n552 5.2.2 Full\r\n"
        (message,) = sink.wait_for_messages(1)
    assert [recipient.final_code for recipient in message.recipients] == [250, 552]


def test_several_sinks_share_a_port_on_separate_addresses() -> None:
    first, second = free_address(), free_address()
    port = free_port(first, second)
    with SmtpSink(host=first, port=port) as one, SmtpSink(host=second, port=port) as other:
        for sink in (one, other):
            with client_of(sink) as client:
                client.sendmail("a@b.test", ["c@d.test"], BODY)
        one.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((first, port), timeout=60)
        one.start()
        with client_of(one) as client:
            client.sendmail("a@b.test", ["c@d.test"], BODY)
        assert (len(one.messages), len(other.messages)) == (2, 1)


def test_early_octets_are_recorded_and_a_stalled_peer_stalls_its_client(smtp_sink: SmtpSink) -> None:
    gate = smtp_sink.hold(Stage.CONNECT)
    with raw(smtp_sink) as client:
        gate.wait_reached()
        client.socket.settimeout(0.2)
        client.socket.sendall(b"EHLO early.test\r\n")
        with pytest.raises(TimeoutError):
            client.socket.sendall(b"NOOP\r\n" * 20_000_000)
        gate.open()
        smtp_sink.wait_until(lambda: bool(smtp_sink._sessions[0].early), "the early octets have arrived")
        assert smtp_sink.sessions[0].early.startswith(b"EHLO early.test\r\n")


def test_a_failed_wait_shows_what_arrived(smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.MAIL, reply("421 4.3.2 Not now"), Close())
    with client_of(smtp_sink) as client, pytest.raises(smtplib.SMTPException):
        client.sendmail("a@b.test", ["c@d.test"], BODY)
    smtp_sink.wait_for_sessions(1)
    with pytest.raises(NotReachedError, match="session 1: EHLO MAIL SERVER_CLOSED"):
        smtp_sink.wait_for_messages(1, seconds=0.01)
    smtp_sink.clear()
    smtp_sink.on(Stage.EHLO, Proceed())
    with client_of(smtp_sink) as client:
        client.sendmail("a@b.test", ["c@d.test"], BODY)
    assert [session.number for session in smtp_sink.sessions] == [1]


def test_a_gate_holds_a_session_until_it_is_opened(smtp_sink: SmtpSink) -> None:
    gate = smtp_sink.hold(Stage.MAIL, reply("250 late"), times=1)
    with raw(smtp_sink) as client:
        client.until(b"220 ")
        client.say(b"EHLO x.test\r\n", b"250 ")
        client.socket.sendall(b"MAIL FROM:<a@b.test>\r\n")
        gate.wait_reached()
        gate.open()
        client.until(b"250 late")
