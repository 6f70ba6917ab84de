from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="Attachment")


@_attrs_define
class Attachment:
    """An attachment of a message.

    Attributes:
        filename (str): The file name that the recipient sees, as any Unicode text.
        content (str): Base64.
        content_type (str | Unset): The media type of the attachment. Default: 'application/octet-stream'.
        content_id (None | str | Unset): The id under which `html` shows the attachment, as cid:…. null means that it is
            an ordinary attachment.
    """

    filename: str
    content: str
    content_type: str | Unset = "application/octet-stream"
    content_id: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        filename = self.filename

        content = self.content

        content_type = self.content_type

        content_id: None | str | Unset
        if isinstance(self.content_id, Unset):
            content_id = UNSET
        else:
            content_id = self.content_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "filename": filename,
                "content": content,
            }
        )
        if content_type is not UNSET:
            field_dict["content_type"] = content_type
        if content_id is not UNSET:
            field_dict["content_id"] = content_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        filename = d.pop("filename")

        content = d.pop("content")

        content_type = d.pop("content_type", UNSET)

        def _parse_content_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        content_id = _parse_content_id(d.pop("content_id", UNSET))

        attachment = cls(
            filename=filename,
            content=content,
            content_type=content_type,
            content_id=content_id,
        )

        return attachment
