"""The valid and invalid forms of commands (RFC 5321 4.1, 6531, 1870, 3461, 4954 5; C22 to C41, C50 to C60)."""

from __future__ import annotations

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.session import Listener
from tests.ingress.conftest import Ingress, Start


async def mail(ingress: Ingress, line: str | bytes, listener: Listener = Listener.SMTP) -> tuple[int, str]:
    client = await ingress.client(listener)
    reply = await client.command(line)
    assert (await client.command("NOOP")).code == 250
    client.close()
    return reply.code, reply.enhanced


async def rcpt(ingress: Ingress, line: str | bytes, mail_parameters: str = "") -> tuple[int, str]:
    client = await ingress.client()
    assert (await client.command(f"MAIL FROM:<a@example.org>{mail_parameters}")).code == 250
    reply = await client.command(line)
    client.close()
    return reply.code, reply.enhanced


@pytest.mark.parametrize("line", ["MAIL FROM:a@example.org", "MAIL FROM: a@example.org"])
async def test_c22_paths_need_brackets_except_on_submission(ingress: Ingress, line: str) -> None:
    """Case P11 of docs/cases.md describes this behaviour."""
    assert await mail(ingress, line) == (501, "5.1.7")
    assert await mail(ingress, line, Listener.SUBMISSION) == (250, "2.1.0")


@pytest.mark.parametrize("blanks", [" ", "  ", "\t"])
async def test_f66_blanks_before_a_path_are_accepted_on_every_port(ingress: Ingress, blanks: str) -> None:
    assert await mail(ingress, f"MAIL FROM:{blanks}<a@example.org> SIZE=5") == (250, "2.1.0")
    assert await rcpt(ingress, f"RCPT TO:{blanks}<u@b.example>") == (250, "2.1.5")
    assert ingress.policy.asked(pb.STAGE_RCPT)[0].transaction.recipient == b"u@b.example"
    assert await mail(ingress, f"MAIL FROM:{blanks}<>") == (250, "2.1.0")


@pytest.mark.parametrize(
    "line", ["MAIL FROM: <a@example.org", "MAIL FROM: < a@example.org>", "MAIL FROM :<a@b.example>"]
)
async def test_f66_other_wrong_syntax_gets_501(ingress: Ingress, line: str) -> None:
    assert (await mail(ingress, line))[0] == 501


@pytest.mark.parametrize("verb", [b"EHLO", b"HELO"])
@pytest.mark.parametrize(
    "name", [b"", b" ", b" " + b"x" * 300, " B\u00fcro-PC".encode(), b" my pc", b" caf\xe9", b" [oops"]
)
async def test_f45_any_helo_name_is_accepted_on_submission(start: Start, verb: bytes, name: bytes) -> None:
    ingress = await start()
    client = await ingress.connect()
    await client.reply()
    assert (await client.command(verb + name)).code == 501
    for listener in (Listener.SUBMISSIONS, Listener.SUBMISSION):
        client = await ingress.connect(listener)
        if listener is Listener.SUBMISSIONS:
            await client.start_tls()
        await client.reply()
        assert (await client.command(verb + name)).code == 250
    assert (await client.send_mail(b"Subject: x\r\n\r\n")).code == 250
    (message,) = ingress.relay.messages
    assert message.content.startswith(b"Received: from [127.0.0.1] ([127.0.0.1])\r\n")
    assert message.submission.origin.helo_name == name.strip()[:255]


async def test_c22_postmaster_needs_brackets_and_no_domain(ingress: Ingress) -> None:
    assert (await rcpt(ingress, "RCPT TO:<Postmaster>"))[0] == 250
    assert (await rcpt(ingress, "RCPT TO:Postmaster"))[0] == 501


@pytest.mark.parametrize(
    "path",
    [
        "a@@b",
        "a b@c",
        "@",
        "a@b..c",
        "",
        "a@",
        "@b",
        "a@-b.example",
        "(comment)u@example.com",
        "u..v@example.com",
        ".u@b.c",
    ],
)
async def test_c24_an_invalid_recipient_is_a_permanent_fault(ingress: Ingress, path: str) -> None:
    """Case P10 of docs/cases.md describes this behaviour."""
    assert await rcpt(ingress, f"RCPT TO:<{path}>") == (501, "5.1.3")
    assert not ingress.policy.asked(pb.STAGE_RCPT)


@pytest.mark.parametrize("line", ["RCPT TO:<a@b", "RCPT TO:a@b.example>", "RCPT TO:<a@b.example>x", "RCPT TO:"])
async def test_c24_unclosed_paths_and_trailing_text_are_refused(ingress: Ingress, line: str) -> None:
    assert (await rcpt(ingress, line))[0] == 501


async def test_c26_without_a_size_limit_none_is_offered(ingress: Ingress) -> None:
    ingress.policy.profile.max_message_size = 0
    client = await ingress.connect()
    await client.reply()
    assert "SIZE 0" in (await client.command("EHLO client.example")).lines
    assert (await client.command("MAIL FROM:<a@example.org> SIZE=1000")).code == 250
    assert (await client.command("RCPT TO:<b@example.com>")).code == 250
    assert (await client.data(b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n")).code == 250


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("SIZE=-1", 501),
        ("SIZE=abc", 501),
        ("SIZE=", 501),
        ("SIZE", 501),
        ("SIZE=99999999999999999999999", 552),
        ("SIZE=26214401", 552),
        ("SIZE=26214400", 250),
        ("SIZE=5 SIZE=5", 501),
        ("SIZE=１", 501),
        ("SIZE=5", 250),
        ("size=5", 250),
        ("BODY=8BITMIME", 250),
        ("BODY=7bit", 250),
        ("BODY=BINARYMIME", 555),
        ("BODY=9BIT", 501),
        ("SMTPUTF8", 250),
        ("SMTPUTF8=1", 501),
        ("FOO=1", 555),
        ("FOO", 555),
        ("=1", 501),
        ("RET=FULL ENVID=abc", 250),
        ("RET=FOO", 501),
        ("ENVID=" + "x" * 100, 250),
        ("ENVID=" + "x" * 200, 501),
        ("ENVID=a+00b", 501),
    ],
)
async def test_c27_c29_parameters_of_mail_are_read(ingress: Ingress, parameters: str, code: int) -> None:
    """Cases P16 and P17 of docs/cases.md describe this behaviour."""
    assert (await mail(ingress, f"MAIL FROM:<a@example.org> {parameters}"))[0] == code


async def test_c27_a_too_small_declared_size_is_accepted(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<a@example.org> SIZE=5")).code == 250
    assert (await client.command("RCPT TO:<b@example.com>")).code == 250
    assert (await client.data(b"Subject: x\r\n\r\n" + b"y" * 900 + b"\r\n")).code == 250
    assert ingress.policy.asked(pb.STAGE_RCPT)[0].transaction.declared_size == 5


async def test_c27_bdat_over_its_declared_size_is_accepted(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<a@example.org> SIZE=5")).code == 250
    assert (await client.command("RCPT TO:<b@example.com>")).code == 250
    client.send(b"BDAT 20\r\nSubject: x\r\n\r\nbody\r\nBDAT 6 LAST\r\nmore\r\n")
    assert await client.codes(2) == [250, 250]


@pytest.mark.parametrize("value", ["e+3Dmc2@example.com", "<>"])
async def test_c28_the_auth_parameter_of_mail_is_accepted_and_ignored(ingress: Ingress, value: str) -> None:
    """Case P17 of docs/cases.md describes this behaviour."""
    client = await ingress.client()
    assert (await client.command(f"MAIL FROM:<e=mc2@example.com> AUTH={value}")).code == 250
    assert (await client.command("RCPT TO:<b@example.com>")).code == 250
    assert ingress.policy.asked(pb.STAGE_RCPT)[0].session.account_login == ""


async def test_c28_the_auth_parameter_of_mail_is_refused_when_auth_is_not_offered(ingress: Ingress) -> None:
    del ingress.policy.profile.auth_mechanisms_tls[:]
    assert await mail(ingress, "MAIL FROM:<a@example.com> AUTH=<>") == (555, "5.5.4")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("ORCPT=rfc822;root", 250),
        ("ORCPT=rfc822;a+2Bb@example.com", 250),
        ("ORCPT=rfc822;a+00b", 501),
        ("ORCPT=rfc822", 501),
        ("ORCPT=utf-8;a\\x{E9}@example.com", 250),
        ("NOTIFY=NEVER", 250),
        ("NOTIFY=SUCCESS,FAILURE,DELAY", 250),
        ("NOTIFY=NEVER,FAILURE", 501),
        ("NOTIFY=SOMETIMES", 501),
        ("NOTIFY=NEVER NOTIFY=NEVER", 501),
        ("SIZE=5", 555),
    ],
)
async def test_c29_parameters_of_rcpt_are_read(ingress: Ingress, parameters: str, code: int) -> None:
    assert (await rcpt(ingress, f"RCPT TO:<b@example.com> {parameters}"))[0] == code


async def test_c29_dsn_parameters_reach_relay_as_sent(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<a@example.org> RET=HDRS ENVID=QQ+2B314159")).code == 250
    assert (
        await client.command("RCPT TO:<b@example.com> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;Bob+2Bx@example.com")
    ).code == 250
    assert (await client.data(b"x: y\r\n\r\n")).code == 250
    envelope = ingress.relay.messages[0].submission.envelope
    assert (envelope.ret, envelope.envelope_id) == ("HDRS", b"QQ+2B314159")
    assert sorted(envelope.recipients[0].notify) == ["FAILURE", "SUCCESS"]
    assert envelope.recipients[0].original_recipient == b"rfc822;Bob+2Bx@example.com"


async def test_c29_dsn_parameters_are_refused_after_helo(ingress: Ingress) -> None:
    client = await ingress.connect()
    await client.reply()
    await client.command("HELO client.example")
    assert (await client.command("MAIL FROM:<a@example.org> RET=FULL")).code == 555


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"EHLO a\nX-Injected: 1", 501),
        (b"EHLO x\ry", 501),
        (b"EHLO caf\xe9", 501),
        (b"EHLO a b", 501),
        (b"EHLO", 501),
        (b"EHLO ", 501),
        (b"EHLO [127.0.0.1]", 250),
        (b"EHLO [IPv6:::1]", 250),
        (b"EHLO [300.0.0.1]", 501),
        (b"EHLO localhost", 250),
        (b"EHLO " + b"a" * 256, 501),
        (b"ehlo Client.Example ", 250),
    ],
)
async def test_c38_helo_names_are_checked(ingress: Ingress, line: bytes, code: int) -> None:
    """P12, P13: a bare LF does not end a command, and no control character gets into a session."""
    client = await ingress.connect()
    await client.reply()
    assert (await client.command(line)).code == code
    assert (await client.command("NOOP")).code == 250


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<a\0b@example.com>",
        b"MAIL FROM:<a@example.com>\0",
        b'MAIL FROM:<"a\tb"@example.com>',
        b'MAIL FROM:<"a\nb"@example.com>',
        b"MAIL FROM:<a\x7fb@example.com>",
        b"NOOP \0",
        b"VRFY \x01",
    ],
)
async def test_c39_control_characters_are_refused(ingress: Ingress, line: bytes) -> None:
    assert (await mail(ingress, line))[0] == 501


async def test_c37_text_of_clients_and_policy_never_breaks_a_reply(ingress: Ingress) -> None:
    ingress.policy.on(
        pb.STAGE_RCPT,
        pb.Verdict(
            action=pb.ACTION_REJECT, reply=pb.Reply(code=550, enhanced_code="5.7.1", text="no\r\n250 2.0.0 yes\x00é")
        ),
    )
    client = await ingress.client()
    await client.command("MAIL FROM:<a@example.org>")
    reply = await client.command("RCPT TO:<b@example.com>")
    assert (reply.code, len(reply.lines)) == (550, 1)
    assert (await client.command("NOOP")).code == 250


@pytest.mark.parametrize("queue_id", ["1F\r\n250 2.0.0 more", "\u00e9" * 300, "x" * 3000])
async def test_c37_text_of_relay_never_breaks_a_reply(ingress: Ingress, queue_id: str) -> None:
    ingress.relay.queue_id = queue_id
    client = await ingress.client()
    reply = await client.send_mail()
    assert reply.code == 250
    assert (await client.command("NOOP")).code == 250


async def test_c41_vrfy_reveals_nothing_and_expn_does_not_exist(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.command("VRFY recipient@example.com")).code == 252
    assert (await client.command("VRFY nobody@example.com")).code == 252
    assert (await client.command("EXPN list")).code == 502


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ('"odd user"@example.com', b'"odd user"@example.com'),
        ('"a@b"@example.com', b'"a@b"@example.com'),
        ('"a\\"b"@example.com', b'"a\\"b"@example.com'),
        ('" "@example.com', b'" "@example.com'),
        ('"a\\\\b"@example.com', b'"a\\\\b"@example.com'),
        ('"plain"@example.com', b"plain@example.com"),
        ("User+tag@EXAMPLE.Com.", b"User+tag@example.com"),
        ("@a.example,@b.example:u@c.example", b"u@c.example"),
        ("u%c.example@example.net", b"u%c.example@example.net"),
        ("u@[127.0.0.1]", b"u@[127.0.0.1]"),
        ("u@[IPv6:::1]", b"u@[IPv6:::1]"),
        ("a" * 200 + "@example.com", b"a" * 200 + b"@example.com"),
    ],
)
async def test_c50_c52_c53_c55_paths_are_made_canonical(ingress: Ingress, path: str, canonical: bytes) -> None:
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    assert (await client.command(f"RCPT TO:<{path}>")).code == 250
    assert ingress.policy.asked(pb.STAGE_RCPT)[0].transaction.recipient == canonical
    assert (await client.data(b"x: y\r\n\r\n")).code == 250
    assert ingress.relay.messages[0].recipients == [canonical]


@pytest.mark.parametrize(
    "path",
    ['just"not"right@example.com', "u@c.example@", '"u%c.example"', "u@[999.1.1.1]", "u@[IPv6:zz]", "a" * 600 + "@b.c"],
)
async def test_c50_c52_c53_c55_invalid_paths_are_refused(ingress: Ingress, path: str) -> None:
    assert (await rcpt(ingress, f"RCPT TO:<{path}>"))[0] == 501


async def test_c56_a_recipient_named_three_times_counts_once(ingress: Ingress) -> None:
    """Case P19 of docs/cases.md describes this behaviour."""
    client = await ingress.client()
    await client.envelope("a@example.org", "b@example.com", "b@EXAMPLE.com", '"b"@example.com', "B@example.com")
    assert (await client.data(b"x: y\r\n\r\n")).code == 250
    assert ingress.relay.messages[0].recipients == [b"b@example.com", b"B@example.com"]


async def test_c58_the_null_sender_stays_null(ingress: Ingress) -> None:
    """Case P5 of docs/cases.md describes this behaviour."""
    client = await ingress.client()
    await client.envelope("", "b@example.com")
    assert (await client.data(b"x: y\r\n\r\n")).code == 250
    assert ingress.relay.messages[0].submission.envelope.sender == b""
    assert ingress.policy.asked(pb.STAGE_RCPT)[0].transaction.sender == b""


async def test_c59_smtputf8_and_body_are_passed_on_unchanged(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<a@example.org> SMTPUTF8 BODY=8BITMIME")).code == 250
    assert (await client.command("RCPT TO:<b@bücher.example>")).code == 250
    assert (await client.command("RCPT TO:<jürgen@bücher.example>")).code == 250
    assert (await client.data("Subject: ü\r\n\r\nü\r\n".encode())).code == 250
    stored = ingress.relay.messages[0]
    assert stored.recipients == [b"b@xn--bcher-kva.example", "jürgen@xn--bcher-kva.example".encode()]
    assert stored.submission.envelope.smtputf8
    assert stored.submission.envelope.body_8bitmime
    assert b" with UTF8SMTP id " in stored.content


@pytest.mark.parametrize("line", ["MAIL FROM:<jürgen@example.org>", "MAIL FROM:<a@bücher.example>"])
async def test_c60_utf8_addresses_need_the_keyword_smtputf8(ingress: Ingress, line: str) -> None:
    """Case P15 of docs/cases.md describes this behaviour."""
    assert await mail(ingress, line) == (553, "5.6.7")
    assert await rcpt(ingress, line.replace("MAIL FROM", "RCPT TO")) == (553, "5.6.7")


async def test_c92_octets_that_are_not_utf8_are_refused_without_breaking_the_stream(ingress: Ingress) -> None:
    assert (await mail(ingress, b"MAIL FROM:<caf\xe9@example.org> SMTPUTF8"))[0] == 501
    client = await ingress.client()
    assert (await client.send_mail(b"Subject: caf\xe9\r\n\r\n\xff\xfe\r\n")).code == 250
    assert ingress.relay.messages[0].content.endswith(b"Subject: caf\xe9\r\n\r\n\xff\xfe\r\n")


async def test_c63_8bit_content_without_8bitmime_is_accepted_unchanged(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.send_mail(b"Subject: x\r\n\r\n\x83\x65\x83\x58\r\n")).code == 250
    assert not ingress.relay.messages[0].submission.envelope.body_8bitmime


async def test_unknown_commands_are_500_and_too_many_end_the_session(ingress: Ingress) -> None:
    client = await ingress.client()
    for _ in range(20):
        assert (await client.command("XYZZY plugh")).code == 500
    assert (await client.command("XYZZY")).code == 421
    assert await client.until_closed() == b""


async def test_a_command_over_the_limit_is_refused_completely(ingress: Ingress) -> None:
    client = await ingress.client()
    reply = await client.command(b"NOOP " + b"x" * 3000)
    assert (reply.code, reply.enhanced) == (500, "5.5.2")
    reply = await client.command(b"AUTH PLAIN " + b"x" * 3000)
    assert reply.code != 500
    assert (await client.command("NOOP")).code == 250
