"""Reads the frames of the submission stream, and writes acknowledgements."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from posthouse.relay.v1 import relay_pb2 as pb

from libs.runtime.tracing import well_formed
from services.relay.api.wire.fields import clean, microseconds
from services.relay.intake.disk_space import StorageState
from services.relay.intake.intake import Ack, Result
from services.relay.intake.submission import Chunk, Frame, IncomingSubmission, Refusal
from services.relay.model.message import Origin, SessionVerdict
from services.relay.model.message_id import bare
from services.relay.routing.recipients import SubmittedRecipient

_RESULTS = {
    Result.STORED: pb.SubmitAck.RESULT_STORED,
    Result.TEMPORARY_FAILURE: pb.SubmitAck.RESULT_TEMPORARY_FAILURE,
    Result.INSUFFICIENT_STORAGE: pb.SubmitAck.RESULT_INSUFFICIENT_STORAGE,
    Result.INVALID: pb.SubmitAck.RESULT_INVALID,
}
_ADDRESS_LIMIT = 64
# The largest number of characters of the id of a reason or a rule.
_ID_LIMIT = 64
_MOST_VERDICTS = 100
_CHECK_RESULTS = 10


def frame(of: pb.SubmitFrame) -> Frame:
    """Reads a frame of submissions."""
    return Frame(
        # This uses slices and lists because iteration over repeated fields of protobuf, and over generators, is slow.
        tuple([_incoming(one) for one in of.submissions[:]]),
        tuple([Chunk(one.submission_id, one.data, one.last) for one in of.chunks[:]]) if of.chunks else (),
        tuple(of.abandoned_submission_ids),
        tuple([_refusal(one) for one in of.refused[:]]) if of.refused else (),
    )


def acks(of: Iterable[Ack]) -> pb.SubmitAckFrame:
    """Puts acknowledgements into one frame."""
    return pb.SubmitAckFrame(
        acks=[
            pb.SubmitAck(
                submission_id=ack.submission_id,
                result=_RESULTS[ack.result],
                queue_id=ack.queue_id,
                reason=ack.reason,
            )
            for ack in of
        ]
    )


def storage(of: StorageState) -> pb.SubmitAckFrame:
    """Puts the state of the storage into a separate frame."""
    return pb.SubmitAckFrame(storage=pb.StorageState(accepting=of.accepting, available=of.available))


def _incoming(of: pb.Submission) -> IncomingSubmission:
    envelope = of.envelope
    return IncomingSubmission(
        id=of.id,
        sender=envelope.sender,
        recipients=tuple([_wanted(one) for one in envelope.recipients[:]]),
        content=of.content,
        size=of.content_size,
        received_at=microseconds(of.received_at),
        origin=_origin(of.origin),
        ret=envelope.ret if envelope.ret in ("FULL", "HDRS") else "",
        envelope_id=envelope.envelope_id,
        smtputf8=envelope.smtputf8,
        body_8bitmime=envelope.body_8bitmime,
        quarantine=of.quarantine,
        traceparent=well_formed(of.traceparent) if of.traceparent else "",
        verdicts=_verdicts(of.verdicts) if of.verdicts else (),
        check_results=_check_results(of.check_results) if of.check_results else (),
        sent_before=of.sent_before,
    )


def _wanted(of: pb.Recipient) -> SubmittedRecipient:
    if not of.discarded and not of.notify and not of.original_recipient:
        return SubmittedRecipient(of.address)
    return SubmittedRecipient(
        of.address,
        tuple(value for value in of.notify if value in ("NEVER", "SUCCESS", "FAILURE", "DELAY")),
        of.original_recipient,
        of.discarded,
        clean(of.discard_reason),
        clean(of.discard_rule_id),
    )


def _origin(of: pb.Origin) -> Origin:
    return Origin(
        clean(of.session_id, _ADDRESS_LIMIT),
        clean(of.client_address, _ADDRESS_LIMIT),
        of.helo_name,
        clean(of.account_login),
        clean(of.listener, 16),
        of.tls,
        of.may_relay,
    )


def _refusal(of: pb.RefusedMessage) -> Refusal:
    return Refusal(
        origin=Origin(
            clean(of.session_id, _ADDRESS_LIMIT),
            clean(of.client_address, _ADDRESS_LIMIT),
            of.helo_name,
            clean(of.account_login),
            clean(of.listener, 16),
            of.tls,
        ),
        sender=of.sender,
        recipients=tuple(of.recipients),
        code=of.code,
        enhanced_code=clean(of.enhanced_code, 16),
        text=clean(of.text),
        reason_id=clean(of.reason_id),
        rule_id=clean(of.rule_id),
        stage=clean(of.stage, 32),
        refused_at=microseconds(of.refused_at),
        discarded=of.discarded,
        message_id=bare(of.message_id),
        verdicts=_verdicts(of.verdicts),
        check_results=_check_results(of.check_results),
    )


def _verdicts(of: Sequence[pb.SessionVerdict]) -> tuple[SessionVerdict, ...]:
    return tuple(
        SessionVerdict(
            microseconds(each.at),
            clean(each.stage, 32),
            clean(each.action, 16),
            each.code,
            clean(each.enhanced_code, 16),
            clean(each.reason_id, _ID_LIMIT),
            clean(each.rule_id, _ID_LIMIT),
            tuple((clean(one.reason_id, _ID_LIMIT), clean(one.rule_id, _ID_LIMIT)) for one in each.shadow),
        )
        for each in of[:_MOST_VERDICTS]
    )


def _check_results(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(clean(text) for text in itertools.islice(texts, _CHECK_RESULTS))
