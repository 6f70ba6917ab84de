"""The endpoint `POST /v1/messages`, which submits mail over HTTP. Ingress accepts it in a submission session of the
key's account.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from libs.smtp import header
from services.config_api.http.context import IdempotencyKey, app_context, needs, note_action, repetition_of
from services.config_api.http.middleware import parse_json
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import problem_responses
from services.config_api.operations.submission import body, wire
from services.config_api.operations.submission.body import MEGABYTE, JsonShares, Spool
from services.config_api.operations.submission.composing import compose, decoded, needs_smtputf8
from services.config_api.operations.submission.schemas import (
    MOST_RECIPIENTS,
    MessageEnvelopeGiven,
    MessageToSend,
    SubmittedMessage,
    sender_address,
)
from services.config_api.problems import Problem, from_pydantic, malformed
from services.config_api.resources.fields import AnyAddress
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["events"], route_class=Route)

_RFC822 = "message/rfc822"
_JSON = "application/json"
# The limit for a message when the settings have none, and the limit for JSON, which is parsed in memory.
_MOST_OCTETS = 1024 * MEGABYTE
_MOST_JSON = 128 * MEGABYTE
# The number of octets at the beginning of a message in which its Message-ID is searched.
_HEAD_OCTETS = 256 * 1024
# Longer JSON is parsed in a thread, because it would block the event loop for too long.
_LONG_JSON = 64 * 1024
_RETRY_SECONDS = 30

_JSON_SHARES = JsonShares()


class SubmissionQuery(BaseModel):
    """The envelope of a message/rfc822 body."""

    model_config = ConfigDict(extra="forbid")

    sender: Annotated[str, Field(max_length=512), AfterValidator(sender_address)] | None = Field(
        default=None, description="For message/rfc822: MAIL FROM. Empty means <>."
    )
    recipient: list[AnyAddress] | None = Field(
        default=None,
        max_length=MOST_RECIPIENTS,
        description="For message/rfc822: RCPT TO. It may be given several times.",
    )


@dataclass(slots=True)
class _Mail:
    """A message for ingress. `spool` has the content."""

    sender: str
    recipients: Sequence[str]
    given: MessageEnvelopeGiven | None
    spool: Spool
    smtputf8: bool = False


@router.post(
    "/v1/messages",
    status_code=202,
    operation_id="submitMessage",
    summary="Submit a message",
    description="The message goes through a submission session of the key's account, from the address of the HTTP "
    "client. All rules, limits and checks are those of SMTP. For message/rfc822 the envelope is in the "
    "query.",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                _JSON: {"schema": {"$ref": "#/components/schemas/MessageToSend"}},
                _RFC822: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
    responses={202: {"model": SubmittedMessage}, **problem_responses(409, 413, 415)},
)
async def submit(
    request: Request,
    caller: Annotated[Actor, Depends(needs("sender"))],
    query: Annotated[SubmissionQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submits a message through ingress, in a submission session of the account of the key."""
    if not caller.account:
        raise Problem(403, "forbidden", "This key may not do that.", "This needs a key with the role sender.")
    note_action(request, "messages")
    with contextlib.closing(Spool()) as received:
        media_type = _media_type(request)
        limit = await _limit(request)
        await body.read(request, received, limit if media_type == _RFC822 else _json_limit(limit))
        async with _repeatable(request, caller, idempotency_key, received.digest()) as answers:
            if media_type == _RFC822:
                answer = await _hand_over(request, caller, _raw(query, received))
            else:
                if query.sender is not None or query.recipient is not None:
                    raise malformed("With JSON the envelope must be in the body.")
                with _JSON_SHARES.reserve(caller.key_id, received.size), contextlib.closing(Spool()) as spool:
                    mail = await _in_turn(received.size, lambda: _mail(received, spool, limit))
                    answer = await _hand_over(request, caller, mail)
            answers.append(StoredResponse(answer.status_code, bytes(answer.body).decode()))
            return answer


@contextlib.asynccontextmanager
async def _repeatable(
    request: Request, caller: Actor, key: str | None, digest: bytes
) -> AsyncIterator[list[StoredResponse]]:
    """Yields a list for the answer. With an Idempotency-Key the block runs only once, and the answer is stored for
    repetitions of the request.
    """
    repeat = repetition_of(request, caller, key, digest)
    if repeat is None:
        yield []
        return
    async with repeat.claimed() as answers:
        yield answers


def _media_type(request: Request) -> str:
    """Returns the media type of the request. Raises Problem 415."""
    fields = request.headers.getlist("content-type")
    media_type = fields[0].partition(";")[0].strip().lower() if len(set(fields)) == 1 else ""
    coded = any(coding.strip().lower() != "identity" for coding in request.headers.getlist("content-encoding"))
    if media_type not in (_JSON, _RFC822) or coded:
        raise Problem(
            415,
            "unsupported-media-type",
            "The body must be JSON or a message.",
            f"Send Content-Type: {_JSON} or {_RFC822}, not compressed.",
        )
    return media_type


async def _limit(request: Request) -> int:
    """Returns the largest number of octets that a message may have."""
    document = await app_context(request).store.get("settings/general", "settings/general")
    megabytes = 0 if document is None else document.body["profile"]["max_message_size_mb"]
    return int(megabytes * MEGABYTE) or _MOST_OCTETS


def _json_limit(limit: int) -> int:
    """Returns the limit for a JSON body that contains a message of up to `limit` octets. Base64 needs four octets for
    three.
    """
    return min(limit * 4 // 3 + MEGABYTE, _MOST_JSON)


async def _in_turn(size: int, work: Callable[[], _Mail]) -> _Mail:
    return await asyncio.to_thread(work) if size > _LONG_JSON else work()


def _raw(query: SubmissionQuery, spool: Spool) -> _Mail:
    if query.sender is None or not query.recipient:
        raise malformed("With message/rfc822 the query must name sender and recipient.")
    return _Mail(query.sender, query.recipient, None, spool)


def _mail(received: Spool, spool: Spool, limit: int) -> _Mail:
    """Writes the message that the JSON describes into `spool`, and returns it with its envelope. Raises Problem."""
    content = parse_json(received.content())
    try:
        given = MessageToSend.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise from_pydantic([dict(entry) for entry in found], content, where="body") from None
    envelope = given.envelope
    if given.raw is not None:
        spool.write(decoded(given.raw, "/raw"))
    else:
        compose(given, spool)  # type: ignore[arg-type]
    if spool.size > limit:
        raise body.too_large(limit)
    sender = envelope.sender if envelope is not None else None
    if sender is None:
        assert given.from_ is not None  # noqa: S101 - the schema demands it
        sender = given.from_.address
    recipients = envelope.recipients if envelope is not None else None
    if recipients is None:
        recipients = [mailbox.address for mailbox in (*given.to, *given.cc, *given.bcc)]
    return _Mail(sender, recipients, envelope, spool, needs_smtputf8(given))


async def _hand_over(request: Request, caller: Actor, mail: _Mail) -> JSONResponse:
    """Submits the message to ingress, and returns the answer for the client. Raises Problem when the message was not
    accepted.
    """
    is_8bit = any(not piece.isascii() for piece in mail.spool.pieces())
    envelope = wire.envelope(
        caller,
        mail.sender,
        mail.recipients,
        mail.given,
        size=mail.spool.size,
        body_8bitmime=is_8bit,
        smtputf8=mail.smtputf8,
    )
    found = await app_context(request).ingress.submit(envelope, lambda: body.crlf(mail.spool))
    outcome = wire.outcome(found)
    if not found.queue_id:
        raise _refused(outcome)
    return JSONResponse({"queue_id": found.queue_id, "message_id": _message_id(mail.spool), **outcome}, 202)


def _refused(outcome: dict[str, Any]) -> Problem:
    """Returns the problem for a message that was not accepted. The status is 422 when no recipient is accepted, or when
    the content is refused permanently. Otherwise it is 503, because a later try may succeed.
    """
    replies = [recipient["reply"] for recipient in outcome["recipients"]]
    no_recipient = bool(replies) and all(reply["code"] // 100 != 2 for reply in replies)
    if no_recipient or outcome["reply"]["code"] // 100 == 5:
        return Problem(
            422,
            "message-refused",
            "The message was not accepted.",
            "No recipient was accepted. Each one has its reply." if no_recipient else "",
            more=outcome,
        )
    return Problem(
        503,
        "message-deferred",
        "The message cannot be accepted now.",
        headers={"Retry-After": str(_RETRY_SECONDS)},
        more=outcome,
    )


def _message_id(spool: Spool) -> str | None:
    """Returns the Message-ID in the header of the message, or None when the first _HEAD_OCTETS octets contain none."""
    spool.file.seek(0)
    head = spool.file.read(_HEAD_OCTETS).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    top, _ = header.split(head)
    values = [value.strip() for value in header.values(top, b"message-id")]
    return values[0].decode("utf-8", "replace") if values and values[0] else None
