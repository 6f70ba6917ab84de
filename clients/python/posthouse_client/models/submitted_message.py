from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.submission_reply import SubmissionReply
    from ..models.submitted_recipient import SubmittedRecipient


T = TypeVar("T", bound="SubmittedMessage")


@_attrs_define
class SubmittedMessage:
    """A message that was accepted.

    Attributes:
        queue_id (str): The id of the message in the queue, in events and in logs.
        message_id (None | str): The Message-ID of the message. null means that it had none, and that ingress added one.
        session_id (str): The id of the session, for GET /v1/explain and the log.
        recipients (list[SubmittedRecipient]): The recipients in the order of the envelope.
        reply (SubmissionReply): The reply of SMTP.
    """

    queue_id: str
    message_id: None | str
    session_id: str
    recipients: list[SubmittedRecipient]
    reply: SubmissionReply
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        queue_id = self.queue_id

        message_id: None | str
        message_id = self.message_id

        session_id = self.session_id

        recipients = []
        for recipients_item_data in self.recipients:
            recipients_item = recipients_item_data.to_dict()
            recipients.append(recipients_item)

        reply = self.reply.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "queue_id": queue_id,
                "message_id": message_id,
                "session_id": session_id,
                "recipients": recipients,
                "reply": reply,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.submission_reply import SubmissionReply  # noqa: PLC0415
        from ..models.submitted_recipient import SubmittedRecipient  # noqa: PLC0415

        d = dict(src_dict)
        queue_id = d.pop("queue_id")

        def _parse_message_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        message_id = _parse_message_id(d.pop("message_id"))

        session_id = d.pop("session_id")

        recipients = []
        _recipients = d.pop("recipients")
        for recipients_item_data in _recipients:
            recipients_item = SubmittedRecipient.from_dict(recipients_item_data)

            recipients.append(recipients_item)

        reply = SubmissionReply.from_dict(d.pop("reply"))

        submitted_message = cls(
            queue_id=queue_id,
            message_id=message_id,
            session_id=session_id,
            recipients=recipients,
            reply=reply,
        )

        submitted_message.additional_properties = d
        return submitted_message

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
