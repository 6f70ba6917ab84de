"""Serves ingress.v1 over gRPC: messages that do not come over SMTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog
from posthouse.ingress.v1 import ingress_pb2 as pb
from posthouse.ingress.v1 import ingress_pb2_grpc

from libs.smtp.network import canonical_ip
from services.ingress import inner_session
from services.ingress.inner_session import InnerMessage, InnerOutcome, InnerReply
from services.ingress.listener import Listeners
from services.ingress.session import Peer

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Ingress"].full_name
# Which services may call each method.
CALLERS = {"SubmitMessage": {"config_api"}}

# The characters that a command must not contain.
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]").search
_NOTIFY = frozenset({"NEVER", "SUCCESS", "FAILURE", "DELAY"})
_RET = frozenset({"", "FULL", "HDRS"})
_MOST_RECIPIENTS = 10_000

_Context = grpc.aio.ServicerContext[Any, Any]


class IngressServicer(ingress_pb2_grpc.IngressServicer):
    """Implements ingress.v1. Its methods have the names of the contract."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners

    def register(self, server: grpc.aio.Server) -> None:
        ingress_pb2_grpc.add_IngressServicer_to_server(self, server)

    async def SubmitMessage(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.SubmitMessageFrame], context: _Context
    ) -> pb.SubmitMessageResponse:
        frames = aiter(request_iterator)
        first = await anext(frames, None)
        if first is None or first.WhichOneof("part") != "envelope":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first frame must have the envelope")
        try:
            message = _message(first.envelope)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        try:
            return _response(await inner_session.submit(self._listeners, message, _content(frames)))
        except ConnectionError as error:
            await context.abort(grpc.StatusCode.CANCELLED, str(error))


async def _content(frames: AsyncIterator[pb.SubmitMessageFrame]) -> AsyncIterator[bytes]:
    """Yields the content. Raises ConnectionError unless it is complete, because half a message must not be accepted
    when the caller disconnects.
    """
    async for frame in frames:
        yield frame.content
        if frame.last:
            return
    raise ConnectionError("the content is not complete")


def _message(envelope: pb.MessageEnvelope) -> InnerMessage:
    """Makes the commands. Raises ValueError for an invalid envelope."""
    if not envelope.account_login or not 1 <= len(envelope.recipients) <= _MOST_RECIPIENTS:
        raise ValueError("an account and recipients are needed")
    client = canonical_ip(envelope.client_address)
    peer = Peer(str(client), envelope.client_port, "::1" if client.version == 6 else "127.0.0.1", 0)
    parameters = [b"SIZE=%d" % envelope.size] if envelope.size else []
    if envelope.body_8bitmime:
        parameters.append(b"BODY=8BITMIME")
    if envelope.smtputf8:
        parameters.append(b"SMTPUTF8")
    if envelope.ret not in _RET:
        raise ValueError("this value of RET does not exist")
    if envelope.ret:
        parameters.append(b"RET=" + envelope.ret.encode())
    if envelope.envelope_id:
        parameters.append(b"ENVID=" + envelope.envelope_id)
    mail = b" ".join((b"MAIL FROM:<%b>" % envelope.sender, *parameters))
    recipients = tuple((recipient.address, _recipient(recipient)) for recipient in envelope.recipients)
    if any(_CONTROL(command) for command in (mail, *(command for _, command in recipients))):
        raise ValueError("the envelope contains a control character")
    return InnerMessage(envelope.account_login, peer, mail, recipients)


def _recipient(recipient: pb.MessageRecipient) -> bytes:
    if not _NOTIFY.issuperset(recipient.notify):
        raise ValueError("this value of NOTIFY does not exist")
    command = b"RCPT TO:<%b>" % recipient.address
    return command + b" NOTIFY=" + ",".join(recipient.notify).encode() if recipient.notify else command


def _response(outcome: InnerOutcome) -> pb.SubmitMessageResponse:
    return pb.SubmitMessageResponse(
        session_id=outcome.session_id,
        queue_id=outcome.queue_id,
        recipients=[pb.RecipientOutcome(address=address, reply=_reply(reply)) for address, reply in outcome.recipients],
        reply=_reply(outcome.reply),
    )


def _reply(reply: InnerReply) -> pb.SmtpReply:
    return pb.SmtpReply(code=reply.code, enhanced_code=reply.enhanced, text=reply.text)
