"""The schemas of a message that a client submits, and of the result."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from libs.smtp.address import parse_address
from services.config_api.http.responses import Answer
from services.config_api.resources.fields import AnyAddress, Model, Text, checked, fault

MOST_RECIPIENTS = 10_000
_MOST_ATTACHMENTS = 100
_MOST_HEADERS = 50
Notify = Literal["never", "success", "failure", "delay"]

# Header fields that a client cannot give in `headers`: they are made from other members, are added by ingress, or
# describe the envelope or the form of the content.
_OWN_FIELDS = frozenset(
    (
        *("from", "to", "cc", "bcc", "reply-to", "subject", "mime-version", "received", "return-path"),
        *("resent-bcc", "dkim-signature", "authentication-results"),
    )
)
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}").fullmatch
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}").fullmatch
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,100}@[A-Za-z0-9.-]{1,100}").fullmatch


def _header_names(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        lower = name.lower()
        if _FIELD_NAME(name) is None or lower in _OWN_FIELDS or lower.startswith("content-"):
            raise fault("header", "names a field that cannot be given here")
    if len({name.lower() for name in headers}) < len(headers):
        raise fault("header", "names a field twice")
    return headers


def _media_type(text: str) -> str:
    lower = text.lower()
    # For the types multipart and message, the email package would change the form of the content.
    if _MEDIA_TYPE(lower) is None or lower.startswith(("multipart/", "message/")):
        raise fault("media_type", "must be a type and subtype, and neither multipart nor message")
    return lower


def _content_id(text: str) -> str:
    if _CONTENT_ID(text) is None:
        raise fault("content_id", "must have the form left@right in ASCII, without angle brackets")
    return text


def sender_address(text: str) -> str:
    """Returns the address in canonical form, or the empty text unchanged. Raises the error of the field."""
    return checked("address", lambda address: str(parse_address(address)))(text) if text else text


class NamedAddress(Model):
    """An address with the name of its owner."""

    address: AnyAddress
    name: Text | None = Field(default=None, description="Any Unicode text.", examples=["Jürgen Müller"])


class Attachment(Model):
    """An attachment of a message."""

    filename: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\u0000-\u001f\u007f/\\]+$")] = Field(
        description="The file name that the recipient sees, as any Unicode text.", examples=["Übersicht.pdf"]
    )
    content_type: Annotated[str, AfterValidator(_media_type)] = Field(
        default="application/octet-stream",
        description="The media type of the attachment.",
        examples=["application/pdf"],
    )
    content: str = Field(description="Base64.", json_schema_extra={"format": "byte"}, examples=["SGVsbG8="])
    content_id: Annotated[str, AfterValidator(_content_id)] | None = Field(
        default=None,
        description="The id under which `html` shows the attachment, as cid:…. null means that it is an ordinary "
        "attachment.",
        examples=["logo@example.com"],
    )


class MessageEnvelopeGiven(Model):
    """The sender and the recipients in SMTP, independent of the header."""

    sender: Annotated[str, Field(max_length=512), AfterValidator(sender_address)] | None = Field(
        default=None, description="MAIL FROM. Empty means <>. null means the address of `from`."
    )
    recipients: Annotated[list[AnyAddress], Field(min_length=1, max_length=MOST_RECIPIENTS)] | None = Field(
        default=None, description="RCPT TO. null means the addresses of `to`, `cc` and `bcc`."
    )
    notify: Annotated[list[Notify], Field(max_length=3)] = Field(
        default=[], description="When a report is wanted (RFC 3461). Empty means on failure."
    )
    return_content: Literal["full", "headers"] | None = Field(
        default=None, description="How much of the message a report contains. null means the default of relay."
    )
    envelope_id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[!-*,-<>-~]+$")] | None = Field(
        default=None, description="ENVID, which reports and events repeat. It is ASCII without blank, + and =."
    )

    @model_validator(mode="after")
    def _never_is_alone(self) -> Self:
        if "never" in self.notify and len(self.notify) > 1:
            raise fault("notify", "must not be given alone", "notify")
        return self


class MessageToSend(Model):
    """A message: either `raw`, or its parts `from`, recipients, `subject`, `text`, `html` and `attachments`."""

    model_config = ConfigDict(populate_by_name=False)

    envelope: MessageEnvelopeGiven | None = Field(
        default=None, description="Required with `raw`. Otherwise it follows from the addresses."
    )
    raw: str | None = Field(
        default=None,
        description="A whole message (RFC 5322) in base64. Lines may end in LF alone.",
        json_schema_extra={"format": "byte"},
    )
    from_: NamedAddress | None = Field(default=None, alias="from", description="The author.")
    to: Annotated[list[NamedAddress], Field(max_length=MOST_RECIPIENTS)] = Field(default=[], description="Recipients.")
    cc: Annotated[list[NamedAddress], Field(max_length=MOST_RECIPIENTS)] = Field(
        default=[], description="Recipients of a copy."
    )
    bcc: Annotated[list[NamedAddress], Field(max_length=MOST_RECIPIENTS)] = Field(
        default=[], description="Recipients that the others do not see."
    )
    reply_to: Annotated[list[NamedAddress], Field(max_length=20)] = Field(
        default=[], description="The addresses for answers."
    )
    subject: Annotated[str, Field(max_length=2000, pattern=r"^[^\u0000-\u001f\u007f]*$")] | None = Field(
        default=None, description="Any Unicode text.", examples=["Schöne Grüße"]
    )
    text: str | None = Field(default=None, description="The message as plain text.", examples=["Hello"])
    html: str | None = Field(default=None, description="The message as HTML, with `text` or alone.")
    attachments: Annotated[list[Attachment], Field(max_length=_MOST_ATTACHMENTS)] = Field(
        default=[], description="Files."
    )
    headers: Annotated[
        dict[str, Annotated[str, Field(max_length=2000, pattern=r"^[^\u0000-\u001f\u007f]*$")]],
        Field(max_length=_MOST_HEADERS),
        AfterValidator(_header_names),
    ] = Field(
        default={},
        description="Further fields of the header, such as List-Unsubscribe, In-Reply-To, Date or Message-ID.",
        examples=[{"In-Reply-To": "<1@example.com>"}],
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        composed = self.model_fields_set - {"raw", "envelope"}
        if self.raw is not None:
            if composed:
                raise fault("two_forms", "must not be given beside raw", min(composed))
            if self.envelope is None or self.envelope.sender is None or self.envelope.recipients is None:
                raise fault("missing", "raw needs an envelope with sender and recipients", "envelope")
            return self
        if self.from_ is None:
            raise fault("missing", "either from or raw is needed", "from")
        if not (self.to or self.cc or self.bcc or (self.envelope and self.envelope.recipients)):
            raise fault("missing", "a recipient is needed", "to")
        return self


class SubmissionReply(Answer):
    """The reply of SMTP."""

    code: int = Field(description="The SMTP code. With 4yz, a later try may succeed.", examples=[250])
    enhanced_code: str | None = Field(description="The code of RFC 3463.", examples=["2.1.5"])
    text: str = Field(description="The text.", examples=["Recipient ok"])


class SubmittedRecipient(Answer):
    """The result for one recipient."""

    address: str = Field(description="The address as it was given.")
    accepted: bool = Field(description="Whether the recipient was accepted.")
    reply: SubmissionReply = Field(description="The reply to RCPT.")


class SubmittedMessage(Answer):
    """A message that was accepted."""

    queue_id: str = Field(description="The id of the message in the queue, in events and in logs.")
    message_id: str | None = Field(
        description="The Message-ID of the message. null means that it had none, and that ingress added one."
    )
    session_id: str = Field(description="The id of the session, for GET /v1/explain and the log.")
    recipients: list[SubmittedRecipient] = Field(description="The recipients in the order of the envelope.")
    reply: SubmissionReply = Field(description="The reply to the content.")
