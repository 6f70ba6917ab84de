from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.attachment import Attachment
    from ..models.message_envelope_given import MessageEnvelopeGiven
    from ..models.message_to_send_headers import MessageToSendHeaders
    from ..models.named_address import NamedAddress


T = TypeVar("T", bound="MessageToSend")


@_attrs_define
class MessageToSend:
    """A message: either `raw`, or its parts `from`, recipients, `subject`, `text`, `html` and `attachments`.

    Attributes:
        envelope (MessageEnvelopeGiven | None | Unset): Required with `raw`. Otherwise it follows from the addresses.
        raw (None | str | Unset): A whole message (RFC 5322) in base64. Lines may end in LF alone.
        from_ (NamedAddress | None | Unset): The author.
        to (list[NamedAddress] | Unset): Recipients.
        cc (list[NamedAddress] | Unset): Recipients of a copy.
        bcc (list[NamedAddress] | Unset): Recipients that the others do not see.
        reply_to (list[NamedAddress] | Unset): The addresses for answers.
        subject (None | str | Unset): Any Unicode text.
        text (None | str | Unset): The message as plain text.
        html (None | str | Unset): The message as HTML, with `text` or alone.
        attachments (list[Attachment] | Unset): Files.
        headers (MessageToSendHeaders | Unset): Further fields of the header, such as List-Unsubscribe, In-Reply-To,
            Date or Message-ID.
    """

    envelope: MessageEnvelopeGiven | None | Unset = UNSET
    raw: None | str | Unset = UNSET
    from_: NamedAddress | None | Unset = UNSET
    to: list[NamedAddress] | Unset = UNSET
    cc: list[NamedAddress] | Unset = UNSET
    bcc: list[NamedAddress] | Unset = UNSET
    reply_to: list[NamedAddress] | Unset = UNSET
    subject: None | str | Unset = UNSET
    text: None | str | Unset = UNSET
    html: None | str | Unset = UNSET
    attachments: list[Attachment] | Unset = UNSET
    headers: MessageToSendHeaders | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.message_envelope_given import MessageEnvelopeGiven  # noqa: PLC0415
        from ..models.named_address import NamedAddress  # noqa: PLC0415

        envelope: dict[str, Any] | None | Unset
        if isinstance(self.envelope, Unset):
            envelope = UNSET
        elif isinstance(self.envelope, MessageEnvelopeGiven):
            envelope = self.envelope.to_dict()
        else:
            envelope = self.envelope

        raw: None | str | Unset
        if isinstance(self.raw, Unset):
            raw = UNSET
        else:
            raw = self.raw

        from_: dict[str, Any] | None | Unset
        if isinstance(self.from_, Unset):
            from_ = UNSET
        elif isinstance(self.from_, NamedAddress):
            from_ = self.from_.to_dict()
        else:
            from_ = self.from_

        to: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.to, Unset):
            to = []
            for to_item_data in self.to:
                to_item = to_item_data.to_dict()
                to.append(to_item)

        cc: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.cc, Unset):
            cc = []
            for cc_item_data in self.cc:
                cc_item = cc_item_data.to_dict()
                cc.append(cc_item)

        bcc: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.bcc, Unset):
            bcc = []
            for bcc_item_data in self.bcc:
                bcc_item = bcc_item_data.to_dict()
                bcc.append(bcc_item)

        reply_to: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.reply_to, Unset):
            reply_to = []
            for reply_to_item_data in self.reply_to:
                reply_to_item = reply_to_item_data.to_dict()
                reply_to.append(reply_to_item)

        subject: None | str | Unset
        if isinstance(self.subject, Unset):
            subject = UNSET
        else:
            subject = self.subject

        text: None | str | Unset
        if isinstance(self.text, Unset):
            text = UNSET
        else:
            text = self.text

        html: None | str | Unset
        if isinstance(self.html, Unset):
            html = UNSET
        else:
            html = self.html

        attachments: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.attachments, Unset):
            attachments = []
            for attachments_item_data in self.attachments:
                attachments_item = attachments_item_data.to_dict()
                attachments.append(attachments_item)

        headers: dict[str, Any] | Unset = UNSET
        if not isinstance(self.headers, Unset):
            headers = self.headers.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if envelope is not UNSET:
            field_dict["envelope"] = envelope
        if raw is not UNSET:
            field_dict["raw"] = raw
        if from_ is not UNSET:
            field_dict["from"] = from_
        if to is not UNSET:
            field_dict["to"] = to
        if cc is not UNSET:
            field_dict["cc"] = cc
        if bcc is not UNSET:
            field_dict["bcc"] = bcc
        if reply_to is not UNSET:
            field_dict["reply_to"] = reply_to
        if subject is not UNSET:
            field_dict["subject"] = subject
        if text is not UNSET:
            field_dict["text"] = text
        if html is not UNSET:
            field_dict["html"] = html
        if attachments is not UNSET:
            field_dict["attachments"] = attachments
        if headers is not UNSET:
            field_dict["headers"] = headers

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.attachment import Attachment  # noqa: PLC0415
        from ..models.message_envelope_given import MessageEnvelopeGiven  # noqa: PLC0415
        from ..models.message_to_send_headers import MessageToSendHeaders  # noqa: PLC0415
        from ..models.named_address import NamedAddress  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_envelope(data: object) -> MessageEnvelopeGiven | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                envelope_type_0 = MessageEnvelopeGiven.from_dict(data)

                return envelope_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MessageEnvelopeGiven | None | Unset, data)

        envelope = _parse_envelope(d.pop("envelope", UNSET))

        def _parse_raw(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        raw = _parse_raw(d.pop("raw", UNSET))

        def _parse_from_(data: object) -> NamedAddress | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                from_type_0 = NamedAddress.from_dict(data)

                return from_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(NamedAddress | None | Unset, data)

        from_ = _parse_from_(d.pop("from", UNSET))

        _to = d.pop("to", UNSET)
        to: list[NamedAddress] | Unset = UNSET
        if _to is not UNSET:
            to = []
            for to_item_data in _to:
                to_item = NamedAddress.from_dict(to_item_data)

                to.append(to_item)

        _cc = d.pop("cc", UNSET)
        cc: list[NamedAddress] | Unset = UNSET
        if _cc is not UNSET:
            cc = []
            for cc_item_data in _cc:
                cc_item = NamedAddress.from_dict(cc_item_data)

                cc.append(cc_item)

        _bcc = d.pop("bcc", UNSET)
        bcc: list[NamedAddress] | Unset = UNSET
        if _bcc is not UNSET:
            bcc = []
            for bcc_item_data in _bcc:
                bcc_item = NamedAddress.from_dict(bcc_item_data)

                bcc.append(bcc_item)

        _reply_to = d.pop("reply_to", UNSET)
        reply_to: list[NamedAddress] | Unset = UNSET
        if _reply_to is not UNSET:
            reply_to = []
            for reply_to_item_data in _reply_to:
                reply_to_item = NamedAddress.from_dict(reply_to_item_data)

                reply_to.append(reply_to_item)

        def _parse_subject(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        subject = _parse_subject(d.pop("subject", UNSET))

        def _parse_text(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        text = _parse_text(d.pop("text", UNSET))

        def _parse_html(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        html = _parse_html(d.pop("html", UNSET))

        _attachments = d.pop("attachments", UNSET)
        attachments: list[Attachment] | Unset = UNSET
        if _attachments is not UNSET:
            attachments = []
            for attachments_item_data in _attachments:
                attachments_item = Attachment.from_dict(attachments_item_data)

                attachments.append(attachments_item)

        _headers = d.pop("headers", UNSET)
        headers: MessageToSendHeaders | Unset
        if isinstance(_headers, Unset):
            headers = UNSET
        else:
            headers = MessageToSendHeaders.from_dict(_headers)

        message_to_send = cls(
            envelope=envelope,
            raw=raw,
            from_=from_,
            to=to,
            cc=cc,
            bcc=bcc,
            reply_to=reply_to,
            subject=subject,
            text=text,
            html=html,
            attachments=attachments,
            headers=headers,
        )

        return message_to_send
