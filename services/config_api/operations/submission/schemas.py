"""A message as a client hands it in, and what became of it."""

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

# What the other members make, what ingress adds, and what carries the envelope or the content's form.
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
            raise fault("header", "names a field that can't be given here")
    if len({name.lower() for name in headers}) < len(headers):
        raise fault("header", "names a field twice")
    return headers


def _media_type(text: str) -> str:
    lower = text.lower()
    # Of these the email package makes its own form of the content.
    if _MEDIA_TYPE(lower) is None or lower.startswith(("multipart/", "message/")):
        raise fault("media_type", "must be a type and subtype, and neither multipart nor message")
    return lower


def _content_id(text: str) -> str:
    if _CONTENT_ID(text) is None:
        raise fault("content_id", "must have the form left@right in ASCII, without angle brackets")
    return text


def sender_address(text: str) -> str:
    """Empty, or an address in its canonical form. Raises the field's error."""
    return checked("address", lambda address: str(parse_address(address)))(text) if text else text


class NamedAddress(Model):
    """An address with the name of its owner."""

    address: AnyAddress
    name: Text | None = Field(default=None, description="Any Unicode text.", examples=["Jürgen Müller"])


class Attachment(Model):
    """A file in a message."""

    filename: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\u0000-\u001f\u007f/\\]+$")] = Field(
        description="As the recipient sees it; any Unicode text.", examples=["Übersicht.pdf"]
    )
    content_type: Annotated[str, AfterValidator(_media_type)] = Field(
        default="application/octet-stream", description="Its media type.", examples=["application/pdf"]
    )
    content: str = Field(description="Base64.", json_schema_extra={"format": "byte"}, examples=["SGVsbG8="])
    content_id: Annotated[str, AfterValidator(_content_id)] | None = Field(
        default=None,
        description="Shown within `html`, which names it as cid:… ; null: it stands beside the text.",
        examples=["logo@example.com"],
    )


class MessageEnvelopeGiven(Model):
    """Who sends to whom in SMTP, whatever the header says."""

    sender: Annotated[str, Field(max_length=512), AfterValidator(sender_address)] | None = Field(
        default=None, description="MAIL FROM, empty for <>; null: the address of `from`."
    )
    recipients: Annotated[list[AnyAddress], Field(min_length=1, max_length=MOST_RECIPIENTS)] | None = Field(
        default=None, description="RCPT TO; null: the addresses of `to`, `cc` and `bcc`."
    )
    notify: Annotated[list[Notify], Field(max_length=3)] = Field(
        default=[], description="When a report is wanted (RFC 3461); empty: on failure."
    )
    return_content: Literal["full", "headers"] | None = Field(
        default=None, description="How much of the message a report holds; null: as relay does."
    )
    envelope_id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[!-*,-<>-~]+$")] | None = Field(
        default=None, description="ENVID: comes back in reports and events. ASCII without blank, + and =."
    )

    @model_validator(mode="after")
    def _never_is_alone(self) -> Self:
        if "never" in self.notify and len(self.notify) > 1:
            raise fault("notify", "never stands alone", "notify")
        return self


class MessageToSend(Model):
    """Either `raw`, or what a message is made of: `from`, recipients, `subject`, `text`, `html`, `attachments`."""

    model_config = ConfigDict(populate_by_name=False)

    envelope: MessageEnvelopeGiven | None = Field(
        default=None, description="Needed with `raw`; else it follows from the addresses."
    )
    raw: str | None = Field(
        default=None,
        description="A whole message (RFC 5322) in base64. A line may end in LF alone.",
        json_schema_extra={"format": "byte"},
    )
    from_: NamedAddress | None = Field(default=None, alias="from", description="The author.")
    to: Annotated[list[NamedAddress], Field(max_length=MOST_RECIPIENTS)] = Field(default=[], description="Recipients.")
    cc: Annotated[list[NamedAddress], Field(max_length=MOST_RECIPIENTS)] = Field(
        default=[], description="Recipients of a copy."
    )
    bcc: Annotated[list[NamedAddress], Field(max_length=MOST_RECIPIENTS)] = Field(
        default=[], description="Recipients whom the others do not see."
    )
    reply_to: Annotated[list[NamedAddress], Field(max_length=20)] = Field(default=[], description="Where answers go.")
    subject: Annotated[str, Field(max_length=2000, pattern=r"^[^\u0000-\u001f\u007f]*$")] | None = Field(
        default=None, description="Any Unicode text.", examples=["Schöne Grüße"]
    )
    text: str | None = Field(default=None, description="The message as plain text.", examples=["Hello"])
    html: str | None = Field(default=None, description="The message as HTML, beside or in place of `text`.")
    attachments: Annotated[list[Attachment], Field(max_length=_MOST_ATTACHMENTS)] = Field(
        default=[], description="Files."
    )
    headers: Annotated[
        dict[str, Annotated[str, Field(max_length=2000, pattern=r"^[^\u0000-\u001f\u007f]*$")]],
        Field(max_length=_MOST_HEADERS),
        AfterValidator(_header_names),
    ] = Field(
        default={},
        description="Other fields of the header, such as List-Unsubscribe, In-Reply-To, Date or Message-ID.",
        examples=[{"In-Reply-To": "<1@example.com>"}],
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        composed = self.model_fields_set - {"raw", "envelope"}
        if self.raw is not None:
            if composed:
                raise fault("two_forms", "is given beside raw", min(composed))
            if self.envelope is None or self.envelope.sender is None or self.envelope.recipients is None:
                raise fault("missing", "raw needs an envelope with sender and recipients", "envelope")
            return self
        if self.from_ is None:
            raise fault("missing", "either from or raw is needed", "from")
        if not (self.to or self.cc or self.bcc or (self.envelope and self.envelope.recipients)):
            raise fault("missing", "a recipient is needed", "to")
        return self


class SubmissionReply(Answer):
    """What SMTP answers."""

    code: int = Field(description="SMTP code; 4yz: it may go later.", examples=[250])
    enhanced_code: str | None = Field(description="RFC 3463 code.", examples=["2.1.5"])
    text: str = Field(description="The text.", examples=["Recipient ok"])


class SubmittedRecipient(Answer):
    """What became of one recipient."""

    address: str = Field(description="As it was given.")
    accepted: bool = Field(description="Whether the message goes to it.")
    reply: SubmissionReply = Field(description="The reply to RCPT.")


class SubmittedMessage(Answer):
    """A message that was taken."""

    queue_id: str = Field(description="Names it in the queue, in events and in logs.")
    message_id: str | None = Field(description="Its Message-ID; null: it had none, and got one on its way.")
    session_id: str = Field(description="The session, for GET /v1/explain and the log.")
    recipients: list[SubmittedRecipient] = Field(description="In the order of the envelope.")
    reply: SubmissionReply = Field(description="The reply to the content.")
