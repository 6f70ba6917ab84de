from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="MailEventReply")


@_attrs_define
class MailEventReply:
    """The reply that a refused client got.

    Attributes:
        code (int): SMTP code.
        enhanced_code (None | str): The code of RFC 3463.
        text (str): The text.
    """

    code: int
    enhanced_code: None | str
    text: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        code = self.code

        enhanced_code: None | str
        enhanced_code = self.enhanced_code

        text = self.text

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "code": code,
                "enhanced_code": enhanced_code,
                "text": text,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        code = d.pop("code")

        def _parse_enhanced_code(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        enhanced_code = _parse_enhanced_code(d.pop("enhanced_code"))

        text = d.pop("text")

        mail_event_reply = cls(
            code=code,
            enhanced_code=enhanced_code,
            text=text,
        )

        mail_event_reply.additional_properties = d
        return mail_event_reply

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
