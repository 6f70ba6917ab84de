from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.notify_condition import NotifyCondition, check_notify_condition
from ..models.returned_content import ReturnedContent, check_returned_content
from ..types import UNSET, Unset

T = TypeVar("T", bound="MessageEnvelopeGiven")


@_attrs_define
class MessageEnvelopeGiven:
    """The sender and the recipients in SMTP, independent of the header.

    Attributes:
        sender (None | str | Unset): MAIL FROM. Empty means <>. null means the address of `from`.
        recipients (list[str] | None | Unset): RCPT TO. null means the addresses of `to`, `cc` and `bcc`.
        notify (list[NotifyCondition] | Unset): When a report is wanted (RFC 3461). Empty means on failure.
        return_content (None | ReturnedContent | Unset): How much of the message a report contains. null means the
            default of relay.
        envelope_id (None | str | Unset): ENVID, which reports and events repeat. It is ASCII without blank, + and =.
    """

    sender: None | str | Unset = UNSET
    recipients: list[str] | None | Unset = UNSET
    notify: list[NotifyCondition] | Unset = UNSET
    return_content: None | ReturnedContent | Unset = UNSET
    envelope_id: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        sender: None | str | Unset
        if isinstance(self.sender, Unset):
            sender = UNSET
        else:
            sender = self.sender

        recipients: list[str] | None | Unset
        if isinstance(self.recipients, Unset):
            recipients = UNSET
        elif isinstance(self.recipients, list):
            recipients = self.recipients

        else:
            recipients = self.recipients

        notify: list[str] | Unset = UNSET
        if not isinstance(self.notify, Unset):
            notify = []
            for notify_item_data in self.notify:
                notify_item: str = notify_item_data
                notify.append(notify_item)

        return_content: None | str | Unset
        if isinstance(self.return_content, Unset):
            return_content = UNSET
        elif isinstance(self.return_content, str):
            return_content = self.return_content
        else:
            return_content = self.return_content

        envelope_id: None | str | Unset
        if isinstance(self.envelope_id, Unset):
            envelope_id = UNSET
        else:
            envelope_id = self.envelope_id

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if sender is not UNSET:
            field_dict["sender"] = sender
        if recipients is not UNSET:
            field_dict["recipients"] = recipients
        if notify is not UNSET:
            field_dict["notify"] = notify
        if return_content is not UNSET:
            field_dict["return_content"] = return_content
        if envelope_id is not UNSET:
            field_dict["envelope_id"] = envelope_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_sender(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        sender = _parse_sender(d.pop("sender", UNSET))

        def _parse_recipients(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                recipients_type_0 = cast(list[str], data)

                return recipients_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        recipients = _parse_recipients(d.pop("recipients", UNSET))

        _notify = d.pop("notify", UNSET)
        notify: list[NotifyCondition] | Unset = UNSET
        if _notify is not UNSET:
            notify = []
            for notify_item_data in _notify:
                notify_item = check_notify_condition(notify_item_data)

                notify.append(notify_item)

        def _parse_return_content(data: object) -> None | ReturnedContent | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                return_content_type_0 = check_returned_content(data)

                return return_content_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ReturnedContent | Unset, data)

        return_content = _parse_return_content(d.pop("return_content", UNSET))

        def _parse_envelope_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        envelope_id = _parse_envelope_id(d.pop("envelope_id", UNSET))

        message_envelope_given = cls(
            sender=sender,
            recipients=recipients,
            notify=notify,
            return_content=return_content,
            envelope_id=envelope_id,
        )

        return message_envelope_given
