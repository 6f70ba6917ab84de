"""POST /v1/messages: the forms of a message, the composed content, and the answer. A fake replaces ingress."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from pathlib import Path
from typing import Any

import grpc
import pytest
from posthouse.ingress.v1 import ingress_pb2 as pb
from posthouse.ingress.v1 import ingress_pb2_grpc
from pydantic import ValidationError

from services.config_api.operations.submission import body
from services.config_api.operations.submission.body import JsonShares, LineEnds
from services.config_api.operations.submission.composing import compose
from services.config_api.operations.submission.schemas import MessageToSend
from services.config_api.problems import Problem
from tests.config_api.service import Service, running

ALICE: dict[str, Any] = {"address": "alice@ours.test", "name": "Alice"}
FAR: dict[str, Any] = {"address": "bob@far.test"}
OK = pb.SmtpReply(code=250, enhanced_code="2.0.0", text="Message accepted as 1A")
NO = pb.SmtpReply(code=550, enhanced_code="5.1.1", text="no such user")


def composed(**members: Any) -> EmailMessage:
    file = io.BytesIO()
    compose(MessageToSend.model_validate({"from": ALICE, "to": [FAR], **members}), file)
    octets = file.getvalue()
    assert octets.isascii()
    assert octets.count(b"\n") == octets.count(b"\r\n")
    assert max(map(len, octets.splitlines())) < 998
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


NAMES = [
    "Jürgen Müller",
    "Müller, Jürgen",
    '"Quoted" <odd>',
    "山田 太郎",
    "Ναταλία Παπαδοπούλου " * 5,
    "山田 太郎" * 20,
    "a" * 190,
    "é",
    "=?utf-8?q?x?=",
    "semi;colon: (comment) \\back",
    "🎄 Weihnachten",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_the_same_after_encoding_and_decoding(name: str) -> None:
    """The test uses the older parser: the newer one keeps blanks between encoded words (RFC 2047 section 6.2)."""
    file = io.BytesIO()
    members = {"from": ALICE, "to": [{**FAR, "name": name}, {"address": "x@far.test"}], "text": "x"}
    compose(MessageToSend.model_validate(members), file)
    first, second = getaddresses([email.message_from_bytes(file.getvalue())["To"]])
    assert (first[1], second) == ("bob@far.test", ("", "x@far.test"))
    assert str(make_header(decode_header(first[0]))).split() == name.split()


@pytest.mark.parametrize(
    "subject", ["Schöne Grüße", "日本語の件名 " * 20, "plain", "a" * 500, "x: y, <z>", "€" * 100, ""]
)
def test_subjects_are_the_same_after_encoding_and_decoding(subject: str) -> None:
    assert composed(subject=subject)["Subject"].strip() == subject.strip()


def test_a_message_may_contain_text_and_html_and_a_picture_and_a_file() -> None:
    png, pdf = b"\x89PNG\r\n\x1a\n", bytes(range(256)) * 100
    message = composed(
        text="Grüße\n",
        html='<p>Grüße <img src="cid:logo@ours.test"></p>\n',
        attachments=[
            {"filename": "Übersicht.pdf", "content_type": "application/pdf", "content": _base64(pdf)},
            {
                "filename": "logo.png",
                "content_type": "image/png",
                "content": _base64(png),
                "content_id": "logo@ours.test",
            },
        ],
    )
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().split() == ["Grüße"]
    assert html.get_content().startswith("<p>Grüße")
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("Übersicht.pdf", pdf)
    (picture,) = [part for part in message.walk() if part["Content-ID"]]
    assert (picture["Content-ID"], picture.get_content()) == ("<logo@ours.test>", png)


def test_bcc_is_in_no_header_field() -> None:
    message = composed(bcc=[{"address": "secret@far.test"}], cc=[{"address": "cc@far.test"}])
    assert "secret" not in message.as_string()
    assert str(message["Cc"]) == "cc@far.test"


def test_an_address_beyond_ascii_is_written_as_utf8() -> None:
    file = io.BytesIO()
    compose(MessageToSend.model_validate({"from": {"address": "grüße@ours.test"}, "to": [FAR], "text": "x"}), file)
    assert "From: <grüße@ours.test>".encode() in file.getvalue()


NO_MESSAGES: list[dict[str, Any]] = [
    {},
    {"from": ALICE},
    {"raw": "eA=="},
    {"raw": "eA==", "envelope": {"sender": "a@b.test"}},
    {"raw": "eA==", "envelope": {"sender": "a@b.test", "recipients": ["c@d.test"]}, "subject": "x"},
    {"from": ALICE, "to": [FAR], "subject": "a\r\nBcc: x@y.test"},
    {"from": {**ALICE, "name": "a\nb"}, "to": [FAR]},
    {"from": ALICE, "to": [FAR], "headers": {"Bcc": "x@y.test"}},
    {"from": ALICE, "to": [FAR], "headers": {"X-A": "a\r\nBcc: x@y.test"}},
    {"from": ALICE, "to": [FAR], "headers": {"X A": "b"}},
    {"from": ALICE, "to": [FAR], "headers": {"Content-Type": "text/plain"}},
    {"from": ALICE, "to": [FAR], "headers": {"X-A": "a", "x-a": "b"}},
    {"from": ALICE, "to": [FAR], "attachments": [{"filename": "../x", "content": ""}]},
    {"from": ALICE, "to": [FAR], "attachments": [{"filename": "x", "content": "", "content_type": "text"}]},
    {"from": ALICE, "to": [FAR], "envelope": {"notify": ["never", "success"]}},
    {"from": ALICE, "to": [{"address": "nobody"}]},
]


@pytest.mark.parametrize("members", NO_MESSAGES)
def test_an_invalid_message_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MessageToSend.model_validate(members)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_line_ends_become_crlf_wherever_the_pieces_are_cut(size: int) -> None:
    given = b"\na\nb\r\n\r\n\nc\r\r\nd\n"
    ends = LineEnds()
    pieces = [ends.convert(given[start : start + size]) for start in range(0, len(given), size)]
    assert b"".join(pieces) == b"\r\na\r\nb\r\n\r\n\r\nc\r\r\nd\r\n"


def test_each_key_has_a_limited_share_of_the_memory_for_json() -> None:
    shares = JsonShares()
    half = body.JSON_OCTETS_PER_KEY
    with shares.reserve("one", half):
        with pytest.raises(Problem) as refused, shares.reserve("one", 1):
            pass
        assert refused.value.status == 429
        with shares.reserve("two", half), pytest.raises(Problem), shares.reserve("three", 1):
            pass
    with shares.reserve("one", half):
        pass


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


class FakeIngress(ingress_pb2_grpc.IngressServicer):
    """Accepts every message unless `response` is set."""

    def __init__(self) -> None:
        self.envelopes: list[pb.MessageEnvelope] = []
        self.contents: list[bytes] = []
        self.response: pb.SubmitMessageResponse | None = None

    async def SubmitMessage(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.SubmitMessageFrame], _: Any
    ) -> pb.SubmitMessageResponse:
        frames = [frame async for frame in request_iterator]
        envelope = frames[0].envelope
        assert frames[-1].last
        self.envelopes.append(envelope)
        self.contents.append(b"".join(frame.content for frame in frames))
        if self.response is not None:
            return self.response
        recipients = [pb.RecipientOutcome(address=recipient.address, reply=OK) for recipient in envelope.recipients]
        return pb.SubmitMessageResponse(session_id="s1", queue_id="1A", recipients=recipients, reply=OK)


@asynccontextmanager
async def served(ingress: FakeIngress) -> AsyncIterator[str]:
    server = grpc.aio.server()
    ingress_pb2_grpc.add_IngressServicer_to_server(ingress, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.fixture
def ingress() -> FakeIngress:
    return FakeIngress()


@pytest.fixture
async def service(begun: Path, resolver: str, ingress: FakeIngress) -> AsyncIterator[Service]:
    async with served(ingress) as target:
        url = f"sqlite:///{begun / 'config.sqlite3'}"
        async with running(url, begun, nameservers=resolver, ingress_target=target) as found:
            await found.make("accounts", {"login": "alice", "password": "correct horse battery"})
            key = await found.make("api-keys", {"name": "shop", "role": "sender", "account": "alice"})
            found.api.headers["X-Sender"] = f"Bearer {key['key']}"
            yield found


def sender(service: Service, **more: str) -> dict[str, str]:
    return {"Authorization": service.api.headers["X-Sender"], **more}


async def test_fields_raw_and_rfc822_are_handed_to_ingress(service: Service, ingress: FakeIngress) -> None:
    raw = b"From: alice@ours.test\nMessage-ID: <m1@ours.test>\n\nGr\xc3\xbc\xc3\x9fe\n"
    first = await service.api.post(
        "/v1/messages",
        json={"from": ALICE, "to": [FAR], "cc": [{"address": "c@far.test"}], "bcc": [{"address": "d@far.test"}]},
        headers=sender(service),
    )
    second = await service.api.post(
        "/v1/messages",
        json={
            "raw": _base64(raw),
            "envelope": {
                "sender": "",
                "recipients": ["b@far.test"],
                "notify": ["success", "failure"],
                "return_content": "headers",
                "envelope_id": "order-17",
            },
        },
        headers=sender(service),
    )
    third = await service.api.post(
        "/v1/messages",
        params={"sender": "alice@ours.test", "recipient": ["x@far.test", "y@far.test"]},
        content=raw,
        headers=sender(service, **{"Content-Type": "message/rfc822"}),
    )
    assert [answer.status_code for answer in (first, second, third)] == [202, 202, 202], first.text + third.text
    one, two, three = ingress.envelopes
    assert {one.account_login, two.account_login, three.account_login} == {"alice"}
    assert one.client_address == "127.0.0.1"
    assert [recipient.address for recipient in one.recipients] == [b"bob@far.test", b"c@far.test", b"d@far.test"]
    assert (two.sender, two.ret, two.envelope_id) == (b"", "HDRS", b"order-17")
    assert list(two.recipients[0].notify) == ["SUCCESS", "FAILURE"]
    assert (two.body_8bitmime, one.body_8bitmime) == (True, False)
    assert ingress.contents[1] == ingress.contents[2] == raw.replace(b"\n", b"\r\n")
    assert second.json() == {
        "queue_id": "1A",
        "message_id": "<m1@ours.test>",
        "session_id": "s1",
        "recipients": [
            {
                "address": "b@far.test",
                "accepted": True,
                "reply": {"code": 250, "enhanced_code": "2.0.0", "text": "Message accepted as 1A"},
            }
        ],
        "reply": {"code": 250, "enhanced_code": "2.0.0", "text": "Message accepted as 1A"},
    }


@pytest.mark.parametrize(
    ("recipients", "reply", "status", "code"),
    [
        ([NO], NO, 422, "message-refused"),
        ([pb.SmtpReply(code=450, enhanced_code="4.1.1", text="later")], NO, 422, "message-refused"),
        ([OK], pb.SmtpReply(code=554, enhanced_code="5.7.1", text="virus"), 422, "message-refused"),
        ([OK], pb.SmtpReply(code=451, enhanced_code="4.3.0", text="later"), 503, "message-deferred"),
        ([], pb.SmtpReply(code=421, enhanced_code="4.7.0", text="too many"), 503, "message-deferred"),
        ([], pb.SmtpReply(code=535, enhanced_code="5.7.8", text="no"), 422, "message-refused"),
    ],
)
async def test_the_error_for_a_refused_message_has_the_replies(
    service: Service, ingress: FakeIngress, recipients: list[pb.SmtpReply], reply: pb.SmtpReply, status: int, code: str
) -> None:
    outcomes = [pb.RecipientOutcome(address=b"bob@far.test", reply=recipient) for recipient in recipients]
    ingress.response = pb.SubmitMessageResponse(session_id="s1", recipients=outcomes, reply=reply)
    answer = await service.api.post("/v1/messages", json={"from": ALICE, "to": [FAR]}, headers=sender(service))
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"urn:posthouse:problem:{code}")
    assert problem["reply"]["code"] == reply.code
    assert [each["reply"]["code"] for each in problem["recipients"]] == [recipient.code for recipient in recipients]
    assert not any(each["accepted"] for each in problem["recipients"])


async def test_a_request_that_is_repeated_with_its_idempotency_key_makes_one_message(
    service: Service, ingress: FakeIngress
) -> None:
    headers = sender(service, **{"Idempotency-Key": "order-17"})
    answers = [
        await service.api.post("/v1/messages", json={"from": ALICE, "to": [FAR]}, headers=headers) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert len(ingress.envelopes) == 1
    other = await service.api.post("/v1/messages", json={"from": ALICE, "to": [FAR], "text": "x"}, headers=headers)
    assert other.status_code == 409


async def test_only_a_key_of_an_account_may_submit_mail(service: Service, ingress: FakeIngress) -> None:
    for headers in ({}, {"Authorization": "Bearer ph_0000000000_x"}):
        answer = await service.api.post("/v1/messages", json={"from": ALICE, "to": [FAR]}, headers=headers)
        assert answer.status_code == (401 if headers else 403)
    for path in ("/v1/queue/messages", "/v1/events", "/v1/accounts", "/v1/settings/general", "/metrics"):
        assert (await service.api.get(path, headers=sender(service))).status_code == 403, path
    assert not ingress.envelopes


async def test_only_keys_of_the_role_sender_have_an_account_and_it_must_exist(service: Service) -> None:
    for given in (
        {"role": "sender"},
        {"role": "sender", "account": "nobody"},
        {"role": "reader", "account": "alice"},
    ):
        answer = await service.api.post("/v1/api-keys", json={"name": "x", **given})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/account"), given


async def test_bodies_that_are_too_large_or_of_unknown_media_types_are_refused(
    service: Service, ingress: FakeIngress
) -> None:
    await service.change("/v1/settings/general", {"profile": {"max_message_size_mb": 1}})
    query = {"sender": "alice@ours.test", "recipient": "b@far.test"}
    big = b"Subject: x\r\n\r\n" + b"x" * 1_048_577
    for content, status in ((big, 413), (big[:1_048_576], 202)):
        headers = sender(service, **{"Content-Type": "message/rfc822"})
        answer = await service.api.post("/v1/messages", params=query, content=content, headers=headers)
        assert answer.status_code == status
    raw = {"raw": _base64(big), "envelope": {"sender": "a@ours.test", "recipients": ["b@far.test"]}}
    assert (await service.api.post("/v1/messages", json=raw, headers=sender(service))).status_code == 413
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = sender(service, **{"Content-Type": media_type})
        assert (await service.api.post("/v1/messages", content=b"x", headers=headers)).status_code == 415
    headers = sender(service, **{"Content-Type": "message/rfc822"})
    assert (await service.api.post("/v1/messages", content=b"x", headers=headers)).status_code == 400
    assert len(ingress.envelopes) == 1


async def test_the_error_names_ingress_when_it_does_not_answer(begun: Path, resolver: str) -> None:
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=resolver) as service:
        await service.make("accounts", {"login": "alice", "password": "correct horse battery"})
        key = (await service.make("api-keys", {"name": "shop", "role": "sender", "account": "alice"}))["key"]
        headers = {"Authorization": f"Bearer {key}"}
        async with asyncio.timeout(60):
            answer = await service.api.post("/v1/messages", json={"from": ALICE, "to": [FAR]}, headers=headers)
    assert (answer.status_code, answer.json()["service"]) == (503, "ingress")
