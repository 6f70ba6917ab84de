"""The order of commands: greeting, transaction, what resets it and what stays (RFC 5321 section 4.1.4; C15 to C21)."""

from __future__ import annotations

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.session import Listener
from tests.fakes.policy import reject
from tests.ingress.conftest import Ingress, Start


async def test_c24_invalid_recipients_do_not_affect_the_valid_ones(start: Start) -> None:
    ingress = await start(max_errors=10)
    client = await ingress.client()
    await client.command("MAIL FROM:<a@example.org>")
    for number in range(30):
        reply = await client.command(f"RCPT TO:<bad {number}@example.com>")
        assert (reply.code, reply.enhanced) == (501, "5.1.3")
    assert (await client.command("RCPT TO:<good@example.com>")).code == 250
    assert (await client.data(b"Subject: x\r\n\r\n")).code == 250


async def test_a_message_goes_from_greeting_to_relay(ingress: Ingress) -> None:
    client = await ingress.client()
    reply = await client.send_mail(b"Subject: hi\r\n\r\nHello\r\n", "a@example.com", "b@example.com")
    assert (reply.code, reply.enhanced) == (250, "2.0.0")
    assert (await client.command("QUIT")).code == 221
    assert await client.until_closed() == b""
    (stored,) = ingress.relay.messages
    assert stored.recipients == [b"a@example.com", b"b@example.com"]
    assert stored.submission.envelope.sender == b"sender@example.org"
    assert stored.content.endswith(b"Subject: hi\r\n\r\nHello\r\n")


@pytest.mark.parametrize(
    "verdict",
    [reject(554, "5.7.1"), reject(451, "4.3.0")],
    ids=["rejected", "deferred"],
)
async def test_c15_a_refused_message_clears_the_transaction(ingress: Ingress, verdict: pb.Verdict) -> None:
    ingress.policy.profile.ask_stages.append(pb.STAGE_END_OF_DATA)
    ingress.policy.on(pb.STAGE_END_OF_DATA, verdict)
    client = await ingress.client()
    assert (await client.send_mail()).code == verdict.reply.code
    assert (await client.command("RCPT TO:<x@example.com>")).code == 503
    assert (await client.command("DATA")).code == 503
    assert not ingress.relay.messages


async def test_c15_a_failure_of_policy_at_the_end_of_data_clears_the_transaction(ingress: Ingress) -> None:
    ingress.policy.profile.ask_stages.append(pb.STAGE_END_OF_DATA)
    ingress.policy.on(pb.STAGE_END_OF_DATA, pb.Verdict())
    client = await ingress.client()
    reply = await client.send_mail()
    assert (reply.code, reply.enhanced) == (451, "4.3.0")
    assert (await client.command("DATA")).code == 503


async def test_c16_a_refused_bdat_clears_the_transaction(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    client.send(b"BDAT 6 LAST\r\nhello\n")
    assert (await client.reply()).code == 550
    assert (await client.command("DATA")).code == 503
    assert (await client.command("RCPT TO:<x@example.com>")).code == 503
    assert (await client.send_mail()).code == 250


async def test_c18_ehlo_clears_the_transaction_and_keeps_tls_and_login(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.starttls()
    assert (await client.login()).code == 235
    await client.envelope()
    assert (await client.command("EHLO again.example")).code == 250
    assert (await client.command("RCPT TO:<x@example.com>")).code == 503
    assert (await client.send_mail()).code == 250
    assert ingress.relay.messages[0].submission.origin.account_login == "alice"
    assert ingress.relay.messages[0].submission.origin.tls


@pytest.mark.parametrize(("command", "code"), [("RSET", 250), ("NOOP", 250), ("NOOP x", 250), ("VRFY x", 252)])
async def test_c18_harmless_commands_are_accepted_before_ehlo(ingress: Ingress, command: str, code: int) -> None:
    client = await ingress.connect()
    await client.reply()
    assert (await client.command(command)).code == code


@pytest.mark.parametrize("command", ["MAIL FROM:<a@example.org>", "RCPT TO:<a@example.com>", "DATA", "BDAT 0 LAST"])
async def test_mail_needs_a_greeting_first(ingress: Ingress, command: str) -> None:
    client = await ingress.connect()
    await client.reply()
    assert (await client.command(command)).code == 503


async def test_a_second_mail_is_out_of_order(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("MAIL FROM:<b@example.org>")).code == 503
    assert (await client.data(b"x\r\n")).code == 250


async def test_rset_clears_the_transaction(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("RSET")).code == 250
    assert (await client.command("DATA")).code == 503


async def test_helo_offers_no_extension_and_accepts_no_parameter(ingress: Ingress) -> None:
    client = await ingress.connect()
    await client.reply()
    reply = await client.command("HELO client.example")
    assert (reply.code, reply.lines) == (250, ("mx.example.com",))
    assert (await client.command("MAIL FROM:<a@example.org> SIZE=10")).code == 555
    assert (await client.send_mail()).code == 250
    assert b" with SMTP id " in ingress.relay.messages[0].content


async def test_c21_text_after_a_refused_data_counts_as_wrong_commands(start, policy) -> None:  # type: ignore[no-untyped-def]
    ingress = await start(max_errors=10)
    policy.on(pb.STAGE_RCPT, reject(550, "5.1.1"))
    client = await ingress.client()
    client.send(
        b"MAIL FROM:<a@example.org>\r\nRCPT TO:<x@example.com>\r\nRCPT TO:<y@example.com>\r\nDATA\r\n"
        + b"text\r\n" * 100
        + b".\r\n"
    )
    assert await client.codes(4) == [250, 550, 550, 554]
    assert await client.codes(9) == [500] * 9
    assert (await client.reply()).code == 421
    assert await client.until_closed() == b""
    assert not ingress.relay.messages


async def test_nothing_after_quit_is_run(ingress: Ingress) -> None:
    client = await ingress.client()
    client.send(b"QUIT\r\nMAIL FROM:<a@example.org>\r\n")
    assert (await client.reply()).code == 221
    assert await client.until_closed() == b""


async def test_the_offered_extensions_depend_on_tls(ingress: Ingress) -> None:
    client = await ingress.connect()
    await client.reply()
    plain = (await client.command("EHLO client.example")).lines
    assert plain == (
        "mx.example.com",
        "PIPELINING",
        "SIZE 26214400",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "DSN",
        "STARTTLS",
        "LIMITS RCPTMAX=1000",
    )
    await client.command("STARTTLS")
    await client.start_tls()
    over_tls = (await client.command("EHLO client.example")).lines
    assert "STARTTLS" not in over_tls
    assert "AUTH PLAIN LOGIN" in over_tls
    submissions = await ingress.connect(Listener.SUBMISSIONS)
    await submissions.start_tls()
    assert (await submissions.reply()).code == 220
    assert "AUTH PLAIN LOGIN" in (await submissions.command("EHLO client.example")).lines


async def test_replies_to_most_commands_have_enhanced_codes(ingress: Ingress) -> None:
    client = await ingress.client()
    commands = ["NOOP", "RSET", "VRFY x", "EXPN x", "ETRN x", "HELP", "FOO", "MAIL", "RCPT", "DATA", "BDAT", "AUTH"]
    for command in commands:
        assert (await client.command(command)).enhanced, command
    assert (await client.command("QUIT")).enhanced == "2.0.0"
