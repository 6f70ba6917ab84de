from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.local_domain_operation import LocalDomainOperation


T = TypeVar("T", bound="LocalDomainBatch")


@_attrs_define
class LocalDomainBatch:
    """Many changes of local domains, of different objects.

    Attributes:
        operations (list[LocalDomainOperation]): The operations, each with its object.
    """

    operations: list[LocalDomainOperation]

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
        from ..models.local_domain_operation import LocalDomainOperation  # noqa: PLC0415

        d = dict(src_dict)
        operations = []
        _operations = d.pop("operations")
        for operations_item_data in _operations:
            operations_item = LocalDomainOperation.from_dict(operations_item_data)

            operations.append(operations_item)

        local_domain_batch = cls(
            operations=operations,
        )

        return local_domain_batch
