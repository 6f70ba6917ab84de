"""A submission as a value, before it becomes a message of the queue. This module is pure."""

from __future__ import annotations

from libs.smtp.value import fast_value
from services.relay.model.message import Origin, SessionVerdict
from services.relay.routing.recipients import SubmittedRecipient


@fast_value(frozen=True, slots=True)
class IncomingSubmission:
    """An envelope and the first part of its content. More may follow in chunks. Times are in microseconds since
    1970.
    """

    id: str
    sender: bytes
    recipients: tuple[SubmittedRecipient, ...]
    content: bytes
    # The octets of the whole content.
    size: int
    received_at: int
    origin: Origin
    ret: str = ""
    envelope_id: bytes = b""
    smtputf8: bool = False
    body_8bitmime: bool = False
    quarantine: bool = False
    traceparent: str = ""
    verdicts: tuple[SessionVerdict, ...] = ()
    # The results of the content checks, as sentences.
    check_results: tuple[str, ...] = ()
    # Whether the submission was sent before on a stream that broke, so that it may be stored already.
    sent_before: bool = False


@fast_value(frozen=True, slots=True)
class Refusal:
    """A message that ingress refused or discarded, so that it is never queued."""

    origin: Origin
    sender: bytes
    recipients: tuple[bytes, ...]
    code: int
    enhanced_code: str
    text: str
    reason_id: str
    rule_id: str
    stage: str
    refused_at: int
    discarded: bool
    message_id: str = ""
    verdicts: tuple[SessionVerdict, ...] = ()
    check_results: tuple[str, ...] = ()


@fast_value(frozen=True, slots=True)
class Chunk:
    """A piece of a submission's content."""

    submission_id: str
    data: bytes
    last: bool


@fast_value(frozen=True, slots=True)
class Frame:
    """The content of one frame of the stream."""

    submissions: tuple[IncomingSubmission, ...]
    chunks: tuple[Chunk, ...]
    abandoned: tuple[str, ...]
    refused: tuple[Refusal, ...]
