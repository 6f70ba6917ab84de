from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.submission_reply import SubmissionReply


T = TypeVar("T", bound="SubmittedRecipient")


@_attrs_define
class SubmittedRecipient:
    """The result for one recipient.

    Attributes:
        address (str): The address as it was given.
        accepted (bool): Whether the recipient was accepted.
        reply (SubmissionReply): The reply of SMTP.
    """

    address: str
    accepted: bool
    reply: SubmissionReply
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        address = self.address

        accepted = self.accepted

        reply = self.reply.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "address": address,
                "accepted": accepted,
                "reply": reply,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.submission_reply import SubmissionReply  # noqa: PLC0415

        d = dict(src_dict)
        address = d.pop("address")

        accepted = d.pop("accepted")

        reply = SubmissionReply.from_dict(d.pop("reply"))

        submitted_recipient = cls(
            address=address,
            accepted=accepted,
            reply=reply,
        )

        submitted_recipient.additional_properties = d
        return submitted_recipient

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
