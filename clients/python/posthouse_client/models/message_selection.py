from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.message_filter import MessageFilter


T = TypeVar("T", bound="MessageSelection")


@_attrs_define
class MessageSelection:
    """The messages to act on.

    Attributes:
        filter_ (MessageFilter): The conditions for messages. A message must meet all that are given.
    """

    filter_: MessageFilter

    def to_dict(self) -> dict[str, Any]:
        filter_ = self.filter_.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "filter": filter_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.message_filter import MessageFilter  # noqa: PLC0415

        d = dict(src_dict)
        filter_ = MessageFilter.from_dict(d.pop("filter"))

        message_selection = cls(
            filter_=filter_,
        )

        return message_selection
