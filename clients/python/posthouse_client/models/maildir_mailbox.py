from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="MaildirMailbox")


@_attrs_define
class MaildirMailbox:
    """Mail is written to a directory of relay's machine.

    Attributes:
        kind (Literal['maildir']): The mailbox is a directory.
        path (str): The absolute path of the directory that contains one Maildir for each recipient.
    """

    kind: Literal["maildir"]
    path: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        path = self.path

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "path": path,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        kind = cast(Literal["maildir"], d.pop("kind"))
        if kind != "maildir":
            raise ValueError(f"kind must match const 'maildir', got '{kind}'")

        path = d.pop("path")

        maildir_mailbox = cls(
            kind=kind,
            path=path,
        )

        maildir_mailbox.additional_properties = d
        return maildir_mailbox

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
