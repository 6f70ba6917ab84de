from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.trusted_network_operation import TrustedNetworkOperation


T = TypeVar("T", bound="TrustedNetworkBatch")


@_attrs_define
class TrustedNetworkBatch:
    """Many changes of trusted networks, of different objects.

    Attributes:
        operations (list[TrustedNetworkOperation]): The operations, each with its object.
    """

    operations: list[TrustedNetworkOperation]

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
        from ..models.trusted_network_operation import TrustedNetworkOperation  # noqa: PLC0415

        d = dict(src_dict)
        operations = []
        _operations = d.pop("operations")
        for operations_item_data in _operations:
            operations_item = TrustedNetworkOperation.from_dict(operations_item_data)

            operations.append(operations_item)

        trusted_network_batch = cls(
            operations=operations,
        )

        return trusted_network_batch
