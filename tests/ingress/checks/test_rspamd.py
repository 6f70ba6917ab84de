"""The request to rspamd, and the answers that are valid."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.smtp.parameters import NO_MAIL_PARAMETERS
from services.ingress.checks.rspamd import RspamdClient, read_answer
from services.ingress.content import Content
from services.ingress.content_facts import SpamAction, SpamScan
from services.ingress.session import Discard, Listener, Peer, Recipient, SessionFacts, Tls, Transaction
from services.ingress.spam import Question
from services.ingress.verdict import Rspamd as Settings
from tests.peers.ports import free_port
from tests.peers.rspamd import Rspamd, gtube
from tests.peers.web import WebServer

PLAIN = b"From: joe@sender.test\r\nSubject: lunch\r\n\r\nAt noon?\r\n"


def question(content: bytes = PLAIN, **changes: Any) -> Question:
    session = SessionFacts("5e" * 16, Peer("192.0.2.10", 4711, "192.0.2.1", 25), Listener.SMTP, 0)
    session.helo_sent = b"mail.sender.test"
    for name, value in changes.items():
        setattr(session, name, value)
    transaction = Transaction(b"joe@sender.test", NO_MAIL_PARAMETERS)
    transaction.client_name = "client.sender.test"
    transaction.recipients = {
        "alice": Recipient(b"alice@local.test"),
        "bob": Recipient(b"bob@local.test"),
        "nobody": Recipient(b"nobody@local.test", discard=Discard("blocked_recipient", "b1")),
    }
    return Question(session, transaction, "mx.local.test", content, len(content))


async def ask(url: str, asked: Question, *, seconds: float = 60.0, password: str = "", tail: Any = ()) -> SpamScan:
    client = RspamdClient(10)
    try:
        return await client.ask(Settings(url, password, seconds), asked, iter(tail))
    finally:
        await client.close()


@pytest.fixture(scope="module")
def rspamd() -> Iterator[Rspamd]:
    with Rspamd() as daemon:
        yield daemon


@pytest.mark.parametrize("action", ["reject", "add header", "rewrite subject"])
async def test_rspamd_finds_gtube(rspamd: Rspamd, action: str) -> None:
    scan = await ask(rspamd.url, question(PLAIN + gtube(action)))
    assert scan.action is SpamAction[action.upper().replace(" ", "_")]
    assert scan.symbols == ("GTUBE",) or not scan.symbols


async def test_rspamd_passes_ordinary_mail_and_logs_the_id_of_the_session(rspamd: Rspamd) -> None:
    scan = await ask(rspamd.url, question())
    assert scan.action is SpamAction.NO_ACTION
    assert scan.required_score == 15.0
    assert "5e" * 16 in rspamd.log()


async def test_rspamd_gets_the_whole_of_a_message_too_large_for_memory(rspamd: Rspamd, tmp_path: Path) -> None:
    content = Content(tmp_path)
    content.add(PLAIN)
    for _ in range(40):
        content.add(b"All work and no play makes Jack a dull boy.\r\n" * 1000)
    content.complete()
    assert list(content.tail())
    asked = question(content.head)
    whole = Question(asked.session, asked.transaction, asked.hostname, content.head, content.size)
    assert (await ask(rspamd.url, whole, tail=content.tail())).action is SpamAction.NO_ACTION
    with WebServer() as web:
        web.answer("/checkv2", _answer("no action"))
        await ask(web.url, whole, tail=content.tail())
        assert web.requests[0].body == b"".join(content.pieces())


async def test_rspamd_gets_the_facts_about_session_and_message() -> None:
    with WebServer() as web:
        web.answer("/checkv2", _answer("no action"))
        asked = question(account="alice", tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", ""))
        scan = await ask(web.url, asked, password="hidden words")
        (request,) = web.requests
    assert scan.action is SpamAction.NO_ACTION
    assert request.method == "POST"
    assert request.body == PLAIN
    told = {
        "ip": "192.0.2.10",
        "helo": "mail.sender.test",
        "hostname": "client.sender.test",
        "from": "<joe@sender.test>",
        # The request names each recipient whose mail is not discarded. The web server keeps the last of these fields.
        "rcpt": "<bob@local.test>",
        "user": "alice",
        "queue-id": "5e" * 16,
        "mta-name": "mx.local.test",
        "tls-version": "TLSv1.3",
        "password": "hidden words",
    }
    assert told.items() <= request.headers.items()


async def test_text_of_a_client_cannot_add_a_header_field_to_the_request() -> None:
    with WebServer() as web:
        web.answer("/checkv2", _answer("no action"))
        asked = question(helo_sent=b"\x00 evil\x0d\x0aPassword: x\xff")
        asked.transaction.sender = b""
        asked.transaction.client_name = ""
        assert (await ask(web.url, asked)).action is SpamAction.NO_ACTION
        (request,) = web.requests
    assert "password" not in request.headers
    assert "hostname" not in request.headers
    assert request.headers["from"] == "<>"


def _answer(action: str, **fields: Any) -> bytes:
    return json.dumps({"action": action, "score": 1.5, "required_score": 15.0, "symbols": {}, **fields}).encode()


@pytest.mark.parametrize(
    ("body", "action"),
    [
        (_answer("reject"), SpamAction.REJECT),
        (_answer("soft reject"), SpamAction.SOFT_REJECT),
        (_answer("greylist"), SpamAction.GREYLIST),
        (_answer("add header"), SpamAction.ADD_HEADER),
        (_answer("quarantine"), SpamAction.ADD_HEADER),
        (_answer("rewrite subject"), SpamAction.REWRITE_SUBJECT),
        (_answer("discard"), SpamAction.REJECT),
        (_answer("no action", required_score=None), SpamAction.NO_ACTION),
        (_answer("invent something"), SpamAction.ERROR),
        (_answer("reject", score="much"), SpamAction.ERROR),
        (_answer("reject", score=float("nan")), SpamAction.ERROR),
        (_answer("reject", symbols=["GTUBE"]), SpamAction.ERROR),
        (_answer("reject", symbols={"GTUBE": 1}), SpamAction.ERROR),
        (b'{"action": "reject"}', SpamAction.ERROR),
        (b"[]", SpamAction.ERROR),
        (b"reject", SpamAction.ERROR),
        (b"", SpamAction.ERROR),
        (b"\xff\xfe", SpamAction.ERROR),
    ],
)
def test_each_answer_of_rspamd_has_its_action(body: bytes, action: SpamAction) -> None:
    assert read_answer(body).action is action


def test_the_symbols_with_the_largest_weights_are_named() -> None:
    symbols = {f"S{number}": {"score": float(number)} for number in range(30)}
    symbols |= {"NOTHING": {"score": 0.0}, "GOOD\nNAME": {"score": -99.0}}
    scan = read_answer(_answer("no action", symbols=symbols))
    assert scan.symbols[:3] == ("GOOD?NAME", "S29", "S28")
    assert len(scan.symbols) == 10
    assert scan.sentence.startswith("rspamd: no action, score 1.50 of 15.00: GOOD?NAME, S29")


async def test_a_request_without_a_valid_answer_of_rspamd_is_an_error() -> None:
    assert await ask(f"http://127.0.0.1:{free_port()}", question()) == _error("unreachable")
    with WebServer() as web:
        assert await ask(web.url, question()) == _error("rspamd answered 404")
        web.answer("/checkv2", status=403)
        assert await ask(web.url, question()) == _error("rspamd answered 403")
        web.endless("/checkv2")
        assert await ask(web.url, question()) == _error("answer not understood")
        gate = web.hold("/checkv2", _answer("reject"))
        assert await ask(web.url, question(), seconds=0.05) == _error("timed out")
        gate.open()


async def test_requests_to_rspamd_are_limited_in_total_and_for_each_network() -> None:
    with WebServer() as web:
        gate = web.hold("/checkv2", _answer("no action"))
        client = RspamdClient(4)
        settings = Settings(web.url, "", 60.0)
        tasks = [asyncio.create_task(client.ask(settings, question(), iter(()), "192.0.2.0/24")) for _ in range(16)]
        await web.requests_came(3)
        refused = await client.ask(settings, question(), iter(()), "192.0.2.0/24")
        other = asyncio.create_task(client.ask(settings, question(), iter(()), "198.51.100.0/24"))
        # One network may have three of the four slots, so the fourth is free for another network.
        await web.requests_came(4)
        gate.open()
        assert refused == _error("too many checks waiting")
        assert (await other).action is SpamAction.NO_ACTION
        outcomes = [(await task).action for task in tasks]
        assert outcomes.count(SpamAction.ERROR) <= 1
        await client.close()


def _error(reason: str) -> SpamScan:
    return SpamScan(SpamAction.ERROR, reason=reason)
