"""Converts envelopes to requests of ingress.v1, and its results to the form of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posthouse.ingress.v1 import ingress_pb2 as pb

from libs.smtp.address import parse_address
from services.config_api.operations.submission.schemas import MessageEnvelopeGiven
from services.config_api.storage.revision import Actor

_RET = {"full": "FULL", "headers": "HDRS", None: ""}


def envelope(
    caller: Actor,
    sender: str,
    recipients: Sequence[str],
    given: MessageEnvelopeGiven | None,
    *,
    size: int,
    body_8bitmime: bool,
    smtputf8: bool,
) -> pb.MessageEnvelope:
    notify = [] if given is None else [each.upper() for each in given.notify]
    addresses = [sender, *recipients] if sender else recipients
    return pb.MessageEnvelope(
        account_login=caller.account,
        client_address=caller.client_address,
        sender=sender.encode(),
        recipients=[pb.MessageRecipient(address=recipient.encode(), notify=notify) for recipient in recipients],
        smtputf8=smtputf8 or any(parse_address(address).needs_smtputf8 for address in addresses),
        body_8bitmime=body_8bitmime,
        ret=_RET[None if given is None else given.return_content],
        envelope_id=b"" if given is None or given.envelope_id is None else given.envelope_id.encode(),
        size=size,
    )


def outcome(found: pb.SubmitMessageResponse) -> dict[str, Any]:
    return {
        "session_id": found.session_id,
        "recipients": [
            {
                "address": recipient.address.decode("utf-8", "replace"),
                "accepted": bool(found.queue_id) and recipient.reply.code // 100 == 2,
                "reply": reply(recipient.reply),
            }
            for recipient in found.recipients
        ],
        "reply": reply(found.reply),
    }


def reply(of: pb.SmtpReply) -> dict[str, Any]:
    return {"code": of.code, "enhanced_code": of.enhanced_code or None, "text": of.text}
