"""ingress.v1: a message over gRPC passes through a session like any other, and has the outcome that SMTP would give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from posthouse.ingress.v1 import ingress_pb2 as pb
from posthouse.ingress.v1 import ingress_pb2_grpc
from posthouse.policy.v1 import policy_pb2

from services.ingress.handler.server import StandInServer
from services.ingress.listener import Listeners
from services.ingress.session import Listener
from services.ingress.submission_servicer import IngressServicer
from tests.fakes.policy import FakePolicy, accept, reject
from tests.fakes.relay import FakeRelay
from tests.ingress.conftest import Ingress, Start
from tests.ingress.handler.conftest import SITE, handler_of

CONTENT = b"From: alice@example.com\r\nSubject: hello\r\n\r\n.\r\nbody\r\n"


def envelope(*recipients: bytes, **fields: object) -> pb.MessageEnvelope:
    values: dict[str, object] = {
        "account_login": "alice",
        "client_address": "192.0.2.7",
        "client_port": 4711,
        "sender": b"alice@example.com",
        "recipients": [pb.MessageRecipient(address=recipient) for recipient in recipients or (b"bob@example.net",)],
        **fields,
    }
    return pb.MessageEnvelope(**values)  # type: ignore[arg-type]


async def frames(
    of: pb.MessageEnvelope, content: bytes = CONTENT, *, whole: bool = True
) -> AsyncIterator[pb.SubmitMessageFrame]:
    yield pb.SubmitMessageFrame(envelope=of)
    for start in range(0, len(content), 10):
        yield pb.SubmitMessageFrame(content=content[start : start + 10])
    if whole:
        yield pb.SubmitMessageFrame(content=b"", last=True)


@pytest.fixture
async def ingress(start: Start, policy: FakePolicy) -> Ingress:
    policy.on(policy_pb2.STAGE_AUTH, _vouched)
    return await start()


def _vouched(request: policy_pb2.DecideRequest) -> policy_pb2.Verdict:
    known = (request.credentials.mechanism, request.credentials.login) == ("EXTERNAL", b"alice")
    return accept(account="alice", account_proof=b"proof") if known else reject(535, "5.7.8")


async def submit(
    ingress: Ingress, of: pb.MessageEnvelope, content: bytes = CONTENT, *, whole: bool = True
) -> pb.SubmitMessageResponse:
    """Submits a message over a real gRPC channel."""
    server = grpc.aio.server()
    IngressServicer(_listeners(ingress)).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: ingress_pb2_grpc.IngressAsyncStub = ingress_pb2_grpc.IngressStub(channel)
            return await stub.SubmitMessage(frames(of, content, whole=whole), timeout=60)
    finally:
        await server.stop(0)


def _listeners(ingress: Ingress) -> Listeners:
    return ingress.worker.listeners


async def test_a_message_is_accepted_in_a_submission_session_of_the_account(
    ingress: Ingress, policy: FakePolicy, relay: FakeRelay
) -> None:
    response = await submit(ingress, envelope(b"bob@example.net", b"carol@example.net", envelope_id=b"e1"))

    (stored,) = relay.messages
    assert response.queue_id
    assert [(recipient.address, recipient.reply.code) for recipient in response.recipients] == [
        (b"bob@example.net", 250),
        (b"carol@example.net", 250),
    ]
    assert (response.reply.code, response.reply.enhanced_code) == (250, "2.0.0")
    origin = stored.submission.origin
    assert (origin.account_login, origin.client_address, origin.listener, origin.tls) == (
        "alice",
        "192.0.2.7",
        "submission",
        True,
    )
    assert origin.session_id == response.session_id
    assert stored.submission.envelope.envelope_id == b"e1"
    assert stored.content.endswith(CONTENT.partition(b"\r\n\r\n")[2])
    assert b"with ESMTPSA" in stored.content
    (asked,) = policy.asked(policy_pb2.STAGE_AUTH)
    assert (asked.session.client_address, asked.session.client_port) == ("192.0.2.7", 4711)
    (rcpt, _) = policy.asked(policy_pb2.STAGE_RCPT)
    assert (rcpt.session.account_login, rcpt.session.account_proof) == ("alice", b"proof")
    await ingress.until_empty()
    await policy.until(lambda: policy.closed == [response.session_id])


async def test_a_handler_sees_the_message_with_a_substitute_for_the_server(
    start: Start, policy: FakePolicy, relay: FakeRelay
) -> None:
    policy.on(policy_pb2.STAGE_AUTH, _vouched)
    ingress = await start(handler=SITE + "Scripted")
    response = await submit(ingress, envelope())
    assert (response.reply.code, len(relay.messages)) == (250, 1)
    calls = handler_of(ingress).calls
    assert [name for name, _ in calls] == ["MAIL", "RCPT", "DATA"]
    (server,) = {arguments[0] for _, arguments in calls}
    _, session, handlers_envelope = calls[-1][1]
    assert isinstance(server, StandInServer)
    # The session has no connection to which a handler could write a reply.
    assert server.transport is None
    assert (server.hostname, server.session) == ("mx.example.com", session)
    assert (session.peer, session.auth_data.login, session.authenticated) == (("192.0.2.7", 4711), b"alice", True)
    assert handlers_envelope.rcpt_tos == ["bob@example.net"]


@pytest.mark.parametrize(("hook", "recipients"), [("MAIL", []), ("RCPT", [554]), ("DATA", [250])])
async def test_the_refusal_of_a_handler_is_in_the_answer(
    start: Start, policy: FakePolicy, relay: FakeRelay, hook: str, recipients: list[int]
) -> None:
    policy.on(policy_pb2.STAGE_AUTH, _vouched)
    ingress = await start(handler=SITE + "Scripted")
    handler_of(ingress).on[hook] = "554 5.7.1 Not here"
    response = await submit(ingress, envelope())
    assert (response.reply.code, response.queue_id) == (554, "")
    assert [recipient.reply.code for recipient in response.recipients] == recipients
    assert not relay.messages


async def test_a_refused_recipient_does_not_prevent_delivery_to_the_others(
    ingress: Ingress, policy: FakePolicy, relay: FakeRelay
) -> None:
    def judge(request: policy_pb2.DecideRequest) -> policy_pb2.Verdict:
        bad = request.transaction.recipient == b"no@example.net"
        return reject(550, "5.1.1", "no such user") if bad else accept()

    policy.on(policy_pb2.STAGE_RCPT, judge)
    response = await submit(ingress, envelope(b"no@example.net", b"yes@example.net"))
    assert [recipient.reply.code for recipient in response.recipients] == [550, 250]
    assert relay.messages[0].recipients == [b"yes@example.net"]


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        (policy_pb2.STAGE_CONNECT, 421),
        (policy_pb2.STAGE_AUTH, 535),
        (policy_pb2.STAGE_RCPT, 550),
        (policy_pb2.STAGE_END_OF_DATA, 554),
    ],
)
async def test_the_refusal_of_policy_at_any_stage_is_in_the_answer(
    ingress: Ingress, policy: FakePolicy, relay: FakeRelay, stage: int, code: int
) -> None:
    policy.profile.ask_stages.append(policy_pb2.STAGE_END_OF_DATA)
    policy.on(stage, reject(code, "5.7.1" if code // 100 == 5 else "4.7.1", "not today"))
    response = await submit(ingress, envelope())
    assert (response.reply.code, response.queue_id) == (code, "")
    assert not relay.messages
    await ingress.until_empty()


async def test_incomplete_content_is_not_stored(ingress: Ingress, relay: FakeRelay) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await submit(ingress, envelope(), whole=False)
    await ingress.until_empty()
    assert not relay.messages


async def test_long_content_in_one_frame_is_received(ingress: Ingress, relay: FakeRelay) -> None:
    content = CONTENT + (b"x" * 998 + b"\r\n") * 3_000

    async def big(of: pb.MessageEnvelope) -> AsyncIterator[pb.SubmitMessageFrame]:
        yield pb.SubmitMessageFrame(envelope=of)
        yield pb.SubmitMessageFrame(content=content, last=True)

    class Context:
        pass

    response = await IngressServicer(_listeners(ingress)).SubmitMessage(big(envelope()), Context())  # type: ignore[arg-type]
    assert response.reply.code == 250
    assert relay.messages[0].content.endswith(content[-1000:])


@pytest.mark.parametrize(
    "fields",
    [
        {"sender": b"alice@example.com>\r\nRCPT TO:<x@example.net"},
        {"recipients": [pb.MessageRecipient(address=b"a@b\nc")]},
        {"recipients": []},
        {"account_login": ""},
        {"ret": "FULL ENVID=x"},
        {"recipients": [pb.MessageRecipient(address=b"a@example.net", notify=["NEVER ORCPT=rfc822;x"])]},
        {"client_address": "mx.example.com"},
    ],
)
async def test_a_request_that_smtp_cannot_express_is_invalid(
    ingress: Ingress, relay: FakeRelay, fields: dict[str, object]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await submit(ingress, envelope(**fields))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not relay.messages


async def test_the_mechanism_external_is_not_offered_to_smtp_clients(ingress: Ingress) -> None:
    client = await ingress.client(Listener.SUBMISSIONS)
    assert (await client.command("AUTH EXTERNAL YWxpY2U=")).code == 504


async def test_a_session_by_grpc_is_counted_as_a_connection(ingress: Ingress, policy: FakePolicy) -> None:
    policy.answering.clear()
    waiting = asyncio.ensure_future(submit(ingress, envelope()))
    async with asyncio.timeout(60):
        while not ingress.worker.listeners.connections:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.005)
    policy.answering.set()
    assert (await waiting).reply.code == 250
