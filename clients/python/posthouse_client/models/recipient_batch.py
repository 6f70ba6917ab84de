from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.recipient_operation import RecipientOperation


T = TypeVar("T", bound="RecipientBatch")


@_attrs_define
class RecipientBatch:
    """Many changes of listed recipients, of different objects.

    Attributes:
        operations (list[RecipientOperation]): The operations, each with its object.
    """

    operations: list[RecipientOperation]

    def to_dict(self) -> dict[str, Any]:
        operations = []
        for operations_item_data in self.operations:
            operations_item = operations_item_data.to_dict()
            operations.append(operations_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "operations": operations,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.recipient_operation import RecipientOperation  # noqa: PLC0415

        d = dict(src_dict)
        operations = []
        _operations = d.pop("operations")
        for operations_item_data in _operations:
            operations_item = RecipientOperation.from_dict(operations_item_data)

            operations.append(operations_item)

        recipient_batch = cls(
            operations=operations,
        )

        return recipient_batch
