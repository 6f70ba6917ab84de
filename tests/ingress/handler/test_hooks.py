"""Hooks of a handler: when they are called, with which arguments, and the effect of their answers and changes."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import MISSING, SMTP, Envelope
from aiosmtpd.smtp import Session as HandlerSession
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.connection import Connection
from services.ingress.session import Listener
from tests.fakes.policy import accept, discard, profile, reject
from tests.ingress.handler.conftest import MESSAGE, StartWith, asks_at_the_end, handler_of, send


async def test_hooks_get_the_same_objects_as_in_aiosmtpd(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<Joe@Far.test> SIZE=100 BODY=8BITMIME RET=HDRS")).code == 250
    assert (await client.command("RCPT TO:<alice@example.com> NOTIFY=NEVER")).code == 250
    assert (await client.command("RCPT TO:<bob@example.com>")).code == 250
    assert (await client.command("DATA")).code == 354
    seen: dict[str, Any] = {}

    def look(server: Any, session: Any, envelope: Any) -> str:
        seen.update(vars(envelope), server=server, session=session, peer=session.peer)
        return "250 OK"

    handler = handler_of(ingress)
    handler.on["DATA"] = look
    client.send(MESSAGE + b".\r\n")
    assert (await client.reply()).code == 250
    assert [name for name, _ in handler.calls] == ["MAIL", "RCPT", "RCPT", "DATA"]
    assert handler.threads == {"handler"}
    (_, mail), (_, first), (_, second), _ = handler.calls
    assert mail[3:] == ("Joe@far.test", ["SIZE=100", "BODY=8BITMIME", "RET=HDRS"])
    assert first[3:] == ("alice@example.com", ["NOTIFY=NEVER"])
    assert second[3:] == ("bob@example.com", [])
    assert seen["mail_from"] == "Joe@far.test"
    assert seen["mail_options"] == ["SIZE=100", "BODY=8BITMIME", "RET=HDRS"]
    assert seen["rcpt_tos"] == ["alice@example.com", "bob@example.com"]
    assert seen["rcpt_options"] == ["NOTIFY=NEVER"]
    assert seen["content"] == seen["original_content"] == MESSAGE
    assert seen["smtp_utf8"] is False
    assert all(arguments[0] is seen["server"] for _, arguments in handler.calls)
    assert all(type(arguments[1]) is HandlerSession for _, arguments in handler.calls)
    assert all(type(arguments[2]) is Envelope for _, arguments in handler.calls)
    assert len({id(arguments[2]) for _, arguments in handler.calls}) == 1


async def test_the_connection_has_the_attributes_of_an_aiosmtpd_server(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")
    seen: dict[str, Any] = {}

    def look(server: Any, session: Any, envelope: Any, *_: Any) -> str:
        for name in dir(server):
            if not name.startswith("_") and not isinstance(getattr(SMTP, name, None), property):
                seen[name] = getattr(server, name)
        peer = server.transport.get_extra_info("peername")
        seen.update(peer=peer, ssl_object=server.transport.get_extra_info("ssl_object"))
        seen.update(max_size=server.max_command_size_limit, ident=server.__ident__, decode=server._decode_data)
        return "250 OK"

    handler_of(ingress).on["RCPT"] = look
    client = await ingress.client()
    await client.command("MAIL FROM:<joe@far.test>")
    assert (await client.command("RCPT TO:<alice@example.com>")).code == 250
    server = handler_of(ingress).calls[-1][1][0]
    assert isinstance(server, Connection)
    assert isinstance(server, SMTP)
    wanted = {
        "hostname": "mx.example.com",
        "ident": "ESMTP",
        "event_handler": handler_of(ingress),
        "data_size_limit": 25 * 1024 * 1024,
        "enable_SMTPUTF8": True,
        "line_length_limit": 10_002,
        "local_part_limit": 0,
        "command_size_limit": 2_048,
        "require_starttls": False,
        "tls_context": None,
        "ssl_object": None,
        "decode": False,
        "peer": client.writer.get_extra_info("sockname")[:2],
    }
    assert {name: seen[name] for name in wanted} == wanted
    assert seen["session"].peer == wanted["peer"]
    assert seen["envelope"].mail_from == "joe@far.test"
    # Tasks that hooks schedule on `session.loop` run in the loop in which the hooks run.
    assert seen["loop"] is seen["session"].loop


async def test_a_hook_may_use_the_event_loop_of_the_server(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")

    async def work(server: Any, *_: Any) -> str:
        name = await server.loop.run_in_executor(None, lambda: threading.current_thread().name)
        await asyncio.sleep(0)
        return f"250 {name}"

    handler_of(ingress).on.update(MAIL=work, RCPT=work, DATA=work)
    assert (await send(await ingress.client())).code == 250


async def test_hooks_see_the_session_after_starttls_and_login(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")
    client = await ingress.client(Listener.SUBMISSION)
    await client.command("MAIL FROM:<alice@example.com>")
    handler = handler_of(ingress)
    before = handler.calls[-1][1][1]
    assert before.ssl is None
    assert before.authenticated is None
    assert (await client.command("STARTTLS")).code == 220
    await client.start_tls()
    await client.command("EHLO second.example")
    assert (await client.login()).code == 235
    assert (await send(client, sender="alice@example.com")).code == 250
    after = handler.calls[-1][1][1]
    assert after is not before
    assert after.host_name == "second.example"
    assert after.extended_smtp is True
    assert after.authenticated is True
    assert after.auth_data.login == b"alice"
    assert after.auth_data.password == b""
    assert after._login_data == b"alice"
    assert isinstance(after.ssl["ssl_object"], ssl.SSLObject)
    assert after.ssl["cipher"][1].startswith("TLSv1")
    server = handler.calls[-1][1][0]
    assert server.tls_context is server.transport.get_extra_info("sslcontext")


async def test_behind_a_proxy_the_peer_is_the_client(start_with: StartWith) -> None:
    ingress = await start_with("Scripted", proxy_networks="127.0.0.0/8")
    client = await ingress.connect()
    client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n")
    assert (await client.reply()).code == 220
    await client.command("EHLO client.example")
    assert (await send(client)).code == 250
    server, session, _ = handler_of(ingress).calls[-1][1]
    assert session.peer == server.transport.get_extra_info("peername") == ("192.0.2.7", 4711)
    assert str(session.proxy_data.src_addr) == "192.0.2.7"


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("550 5.7.27 Not from there", (550, "5.7.27 Not from there")),
        ("450 Later", (450, "4.7.1 Later")),
        (b"554 no", (554, "5.7.1 no")),
        ("550-First line\r\n550 and second", (550, "5.7.1 First line and second")),
        ("550", (550, "5.7.1 Refused")),
    ],
)
@pytest.mark.parametrize("hook", ["MAIL", "RCPT", "DATA"])
async def test_hooks_may_refuse_commands_and_content(
    start_with: StartWith, hook: str, answer: Any, reply: tuple[int, str]
) -> None:
    ingress = await start_with("Scripted")
    handler_of(ingress).on[hook] = answer
    client = await ingress.client()
    refused = await send(client)
    assert (refused.code, refused.text) == reply
    assert not ingress.relay.messages
    await ingress.relay.until(lambda: bool(ingress.relay.refused))
    (record,) = ingress.relay.refused
    assert record.reason_id == "handler_refused"
    assert record.stage == {"DATA": "END_OF_DATA"}.get(hook, hook)
    assert ingress.metrics.handler_calls[f"handle_{hook}", "refused"] == 1
    handler_of(ingress).on.clear()
    await client.command("RSET")
    assert (await send(client)).code == 250


async def test_a_refusal_by_421_ends_the_session(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")
    for hook in ("MAIL", "RCPT", "DATA"):
        handler_of(ingress).on = {hook: "421 Go away"}
        client = await ingress.client()
        assert (await send(client)).code == 421
        assert await client.until_closed() == b""


@pytest.mark.parametrize("answer", ["250 OK", "251 Will forward", MISSING, b"250 OK"])
async def test_a_2yz_answer_of_a_hook_lets_the_message_continue(start_with: StartWith, answer: Any) -> None:
    ingress = await start_with("Scripted")
    handler_of(ingress).on = dict.fromkeys(("MAIL", "RCPT", "DATA"), answer)
    reply = await send(await ingress.client(), "alice@example.com", "bob@example.com")
    assert reply.code == 250
    assert reply.text.startswith("2.0.0 Message accepted as")
    (stored,) = ingress.relay.messages
    assert stored.recipients == [b"alice@example.com", b"bob@example.com"]


@pytest.mark.parametrize("answer", [None, "", "yes", 250, "354 Go on", "550 one\r\n451 other", "250 OK\r\nhm", ["250"]])
@pytest.mark.parametrize("hook", ["MAIL", "RCPT", "DATA"])
async def test_an_invalid_answer_of_a_hook_gives_451(start_with: StartWith, hook: str, answer: Any) -> None:
    ingress = await start_with("Scripted")
    handler_of(ingress).on[hook] = answer
    assert (await send(await ingress.client())).code == 451
    assert ingress.metrics.handler_calls[f"handle_{hook}", "answer_unusable"] == 1
    assert not ingress.relay.messages


def _append(_server: Any, _session: Any, envelope: Any, *_: Any) -> str:
    envelope.rcpt_tos.append("boss@example.com")
    return "250 OK"


def _append_both(_server: Any, _session: Any, envelope: Any, address: str = "", *_: Any) -> str:
    envelope.rcpt_tos += [address, "boss@example.com"]
    return "250 OK"


def _replace(_server: Any, _session: Any, envelope: Any, *_: Any) -> str:
    envelope.rcpt_tos = ["boss@example.com"]
    return "250 OK"


def _drop(_server: Any, _session: Any, envelope: Any, *_: Any) -> str:
    envelope.rcpt_tos = []
    return "250 OK"


def _other_sender(_server: Any, _session: Any, envelope: Any, *_: Any) -> str:
    envelope.mail_from = "boss@example.com"
    return "250 OK"


@pytest.mark.parametrize(
    ("hook", "change"),
    [
        ("MAIL", _other_sender),
        ("MAIL", _append),
        ("RCPT", _append),
        ("RCPT", _append_both),
        ("RCPT", _replace),
        ("RCPT", _other_sender),
        ("DATA", _append),
        ("DATA", _replace),
        ("DATA", _drop),
        ("DATA", _other_sender),
    ],
)
async def test_addresses_that_a_hook_changes_give_451(
    start_with: StartWith, hook: str, change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ingress = await start_with("Scripted")
    handler_of(ingress).on[hook] = change
    client = await ingress.client()
    refused = await send(client)
    assert (refused.code, refused.enhanced) == (451, "4.3.0")
    assert not ingress.relay.messages
    assert ingress.metrics.handler_calls[f"handle_{hook}", "envelope_changed"] == 1
    handler_of(ingress).on.clear()
    await client.command("RSET")
    assert (await send(client)).code == 250
    (stored,) = ingress.relay.messages
    assert stored.recipients == [b"alice@example.com"]


async def test_a_refused_recipient_does_not_affect_the_others(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")

    def some(_server: Any, _session: Any, envelope: Any, address: str, _options: list[str]) -> str:
        # Many handlers append the recipient before they decide about it.
        envelope.rcpt_tos.append(address)
        return "550 no" if address.startswith("eve") else "250 OK"

    handler_of(ingress).on["RCPT"] = some
    client = await ingress.client()
    await client.command("MAIL FROM:<joe@far.test>")
    for address, code in (("alice", 250), ("eve", 550), ("bob", 250)):
        assert (await client.command(f"RCPT TO:<{address}@example.com>")).code == code
    await client.command("DATA")
    client.send(MESSAGE + b".\r\n")
    assert (await client.reply()).code == 250
    (stored,) = ingress.relay.messages
    assert stored.recipients == [b"alice@example.com", b"bob@example.com"]
    assert handler_of(ingress).calls[-1][1][2].rcpt_tos == ["alice@example.com", "bob@example.com"]


async def test_the_null_sender_is_named_as_aiosmtpd_names_it(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")
    assert (await send(await ingress.client(), sender="")).code == 250
    assert handler_of(ingress).calls[0][1][3] == "<>"
    (stored,) = ingress.relay.messages
    assert stored.submission.envelope.sender == b""


# The content of a message


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        (b"X-A: 1\r\n" + MESSAGE, b"X-A: 1\r\n" + MESSAGE),
        (bytearray(b"X-A: 1\n\nbody\n"), b"X-A: 1\r\n\r\nbody\r\n"),
        ("X-A: 1\n\nb\u00fcrgerlich", "X-A: 1\r\n\r\nb\u00fcrgerlich\r\n".encode()),
        (b"X-A: 1\r\r\n\r\nmore\r", b"X-A: 1\r\n\r\n\r\nmore\r\n"),
    ],
)
async def test_a_hook_may_change_the_content(start_with: StartWith, after: Any, wanted: bytes) -> None:
    ingress = await start_with("Scripted")

    def change(_server: Any, _session: Any, envelope: Any) -> str:
        envelope.content = after
        return "250 OK"

    handler_of(ingress).on["DATA"] = change
    assert (await send(await ingress.client())).code == 250
    (stored,) = ingress.relay.messages
    assert stored.content.endswith(wanted)
    assert stored.content.startswith(b"Received: ")
    assert stored.submission.content_size == len(stored.content)


async def test_f46_ambiguous_header_forms_of_a_hook_are_removed_too(start_with: StartWith) -> None:
    """F46: some readers take a line with only blanks for the end of the header, so ingress removes such lines."""
    ingress = await start_with("Scripted")

    def change(_server: Any, _session: Any, envelope: Any) -> str:
        envelope.content = b"X-A: 1\r\n \r\nX-B : 2\r\n\r\nbody\r\n"
        return "250 OK"

    handler_of(ingress).on["DATA"] = change
    assert (await send(await ingress.client())).code == 250
    (stored,) = ingress.relay.messages
    assert stored.content.endswith(b"\r\nX-A: 1\r\nX-B: 2\r\n\r\nbody\r\n")


async def test_a_large_content_reaches_the_hook_whole(start_with: StartWith, tmp_path: Path) -> None:
    ingress = await start_with("Scripted")
    sizes = []

    def change(_server: Any, _session: Any, envelope: Any) -> str:
        sizes.append(len(envelope.content))
        envelope.content = b"X-Large: 1\r\n" + envelope.content
        return "250 OK"

    handler_of(ingress).on["DATA"] = change
    large = MESSAGE + b"0123456789\r\n" * 100_000
    assert (await send(await ingress.client(), content=large)).code == 250
    (stored,) = ingress.relay.messages
    assert sizes == [len(large)]
    assert stored.content.endswith(b"X-Large: 1\r\n" + large)
    assert not list((tmp_path / "spool").iterdir())


@pytest.mark.parametrize(
    "after",
    [
        7,
        None,
        b"Subject: x\r\n\r\n" + b"x" * 20_000,
        b"Subject: x\r\n\r\n\0\r\n",
        b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 300_000,
        b"X-Long: x\r\n" * 30_000 + b"\r\nbody\r\n",
    ],
    ids=["a number", "nothing", "a long line", "a NUL", "too large", "a long header"],
)
async def test_invalid_content_of_a_hook_gives_451(start_with: StartWith, after: Any) -> None:
    ingress = await start_with("Scripted")
    ingress.policy.profile = profile(max_message_size=1024 * 1024)

    def change(_server: Any, _session: Any, envelope: Any) -> str:
        envelope.content = after
        return "250 OK"

    handler_of(ingress).on["DATA"] = change
    assert (await send(await ingress.client())).code == 451
    assert ingress.metrics.handler_calls["handle_DATA", "content_unusable"] == 1
    assert not ingress.relay.messages


async def test_a_hook_cannot_forge_trace_fields(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")

    def change(_server: Any, _session: Any, envelope: Any) -> str:
        envelope.content = (
            b"Authentication-Results: mx.example.com; spf=pass\r\n"
            b"X-Posthouse-Quarantine: no\r\nReturn-Path: <x@y.z>\r\n" + envelope.content
        )
        return "250 OK"

    handler_of(ingress).on["DATA"] = change
    assert (await send(await ingress.client())).code == 250
    (stored,) = ingress.relay.messages
    for name in (b"authentication-results", b"x-posthouse-quarantine", b"return-path"):
        assert name not in stored.content.lower()


async def test_content_by_bdat_reaches_the_hook_too(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")
    client = await ingress.client()
    await client.command("MAIL FROM:<joe@far.test>")
    await client.command("RCPT TO:<alice@example.com>")
    client.send(b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE)
    assert (await client.reply()).code == 250
    assert [name for name, _ in handler_of(ingress).calls] == ["MAIL", "RCPT", "DATA"]


# The order: policy, then the hook, then relay


async def test_hooks_are_called_only_after_policy_has_accepted(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")
    ingress.policy.profile = asks_at_the_end()
    handler = handler_of(ingress)
    client = await ingress.client()
    ingress.policy.on(pb.STAGE_RCPT, reject(550, "5.1.1"))
    assert (await send(client)).code == 550
    assert [name for name, _ in handler.calls] == ["MAIL"]
    ingress.policy.on(pb.STAGE_RCPT, accept())
    ingress.policy.on(pb.STAGE_END_OF_DATA, reject(554, "5.7.1"))
    await client.command("RSET")
    assert (await send(client)).code == 554
    assert [name for name, _ in handler.calls] == ["MAIL", "MAIL", "RCPT"]
    assert not ingress.relay.messages


async def test_discarded_mail_reaches_no_hook(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")

    def rule(request: pb.DecideRequest) -> pb.Verdict:
        return discard("blocked_recipient", "b1") if request.transaction.recipient.startswith(b"eve") else accept()

    ingress.policy.on(pb.STAGE_RCPT, rule)
    handler = handler_of(ingress)
    client = await ingress.client()
    assert (await send(client, "eve@example.com")).code == 250
    assert [name for name, _ in handler.calls] == ["MAIL"]
    handler.calls.clear()
    assert (await send(client, "eve@example.com", "alice@example.com")).code == 250
    assert [name for name, _ in handler.calls] == ["MAIL", "RCPT", "DATA"]
    assert handler.calls[-1][1][2].rcpt_tos == ["alice@example.com"]


async def test_checks_run_on_the_content_before_the_hook(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")
    ingress.policy.profile = asks_at_the_end()

    def change(_server: Any, _session: Any, envelope: Any) -> str:
        envelope.content = b"X-A: 1\r\n" + envelope.content
        return "250 OK"

    handler_of(ingress).on["DATA"] = change
    assert (await send(await ingress.client())).code == 250
    (asked,) = ingress.policy.asked(pb.STAGE_END_OF_DATA)
    assert asked.content.size == len(MESSAGE)


# Failures of hooks


@pytest.mark.parametrize("hook", ["MAIL", "RCPT", "DATA"])
async def test_an_exception_of_a_hook_gives_451(
    start_with: StartWith, hook: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ingress = await start_with("Scripted")

    def fail(*_: Any) -> str:
        raise ValueError("the secret body")

    handler_of(ingress).on[hook] = fail
    client = await ingress.client()
    refused = await send(client)
    assert (refused.code, refused.enhanced) == (451, "4.3.0")
    assert ingress.metrics.handler_calls[f"handle_{hook}", "exception"] == 1
    output = capsys.readouterr()
    assert "secret body" not in output.out + output.err
    handler_of(ingress).on.clear()
    await client.command("RSET")
    assert (await send(client)).code == 250


async def test_a_hook_cannot_end_its_thread(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")

    def leave(*_: Any) -> str:
        raise SystemExit(3)

    handler_of(ingress).on["RCPT"] = leave
    client = await ingress.client()
    assert (await send(client)).code == 451
    handler_of(ingress).on.clear()
    await client.command("RSET")
    assert (await send(client)).code == 250


@pytest.mark.parametrize(
    ("answer", "code"),
    [("542 Internal error", 542), ("442 Later", 442), ("250 never mind", 451), (None, 451), ("hm", 451)],
)
async def test_handle_exception_chooses_the_refusal(start_with: StartWith, answer: Any, code: int) -> None:
    ingress = await start_with("ScriptedWithExceptions")

    def fail(*_: Any) -> str:
        raise LookupError("x")

    handler = handler_of(ingress)
    handler.on = {"RCPT": fail, "exception": answer}
    assert (await send(await ingress.client())).code == code
    assert isinstance(handler.calls[-1][1][0], LookupError)
    assert not ingress.relay.messages


async def test_an_exception_in_handle_exception_gives_451(start_with: StartWith) -> None:
    ingress = await start_with("ScriptedWithExceptions")

    def fail(*_: Any) -> str:
        raise LookupError("x")

    handler_of(ingress).on = {"DATA": fail, "exception": fail}
    assert (await send(await ingress.client())).code == 451
    assert ingress.metrics.handler_calls["handle_exception", "exception"] == 1


async def test_a_hook_that_takes_too_long_gives_451_and_changes_nothing_later(start_with: StartWith) -> None:
    ingress = await start_with("Scripted", handler_seconds=0.3)
    leave, left = threading.Event(), threading.Event()

    def late(_server: Any, _session: Any, envelope: Any, *_: Any) -> str:
        leave.wait(60)
        envelope.rcpt_tos.append("boss@example.com")
        left.set()
        return "250 OK"

    handler = handler_of(ingress)
    handler.on["RCPT"] = late
    client = await ingress.client()
    await client.command("MAIL FROM:<joe@far.test>")
    assert (await client.command("RCPT TO:<alice@example.com>")).code == 451
    assert ingress.metrics.handler_calls["handle_RCPT", "timed_out"] == 1
    # The thread is still busy, so the next hook cannot run either.
    assert (await client.command("RCPT TO:<carol@example.com>")).code == 451
    leave.set()
    assert await asyncio.to_thread(left.wait, 60)
    handler.on.clear()
    calls = len(handler.calls)
    async with asyncio.timeout(60):
        while (await client.command("RCPT TO:<bob@example.com>")).code != 250:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    assert len(handler.calls) > calls
    await client.command("DATA")
    client.send(MESSAGE + b".\r\n")
    assert (await client.reply()).code == 250
    (stored,) = ingress.relay.messages
    assert stored.recipients == [b"bob@example.com"]


async def test_a_blocked_handler_blocks_no_other_session(start_with: StartWith) -> None:
    ingress = await start_with("Scripted")
    entered, leave = threading.Event(), threading.Event()

    def blocking(*_: Any) -> str:
        entered.set()
        leave.wait(60)
        return "250 OK"

    handler_of(ingress).on["MAIL"] = blocking
    first, second = await ingress.client(), await ingress.client()
    first.send(b"MAIL FROM:<joe@far.test>\r\n")
    assert await asyncio.to_thread(entered.wait, 60)
    assert (await second.command("NOOP")).code == 250
    assert not leave.is_set()
    leave.set()
    assert (await first.reply()).code == 250


async def test_too_many_waiting_hooks_give_451(start_with: StartWith, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("_SLOTS", 1), ("_SHARE", 1), ("_UNDER_WAY", 2)):
        monkeypatch.setattr(f"services.ingress.handler.hooks.{name}", number)
    ingress = await start_with("Scripted")
    entered, leave = threading.Event(), threading.Event()

    def blocking(*_: Any) -> str:
        entered.set()
        leave.wait(60)
        return "250 OK"

    handler_of(ingress).on["MAIL"] = blocking
    clients = [await ingress.client() for _ in range(3)]
    for client in clients:
        client.send(b"MAIL FROM:<joe@far.test>\r\n")
    assert await asyncio.to_thread(entered.wait, 60)
    async with asyncio.timeout(60):
        while not ingress.metrics.handler_calls["handle_MAIL", "overloaded"]:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.005)
    leave.set()
    assert sorted([(await client.reply()).code for client in clients]) == [250, 250, 451]
