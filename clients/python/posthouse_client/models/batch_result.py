from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.batched_object import BatchedObject
    from ..models.configuration_warning import ConfigurationWarning


T = TypeVar("T", bound="BatchResult")


@_attrs_define
class BatchResult:
    """The result of a batch.

    Attributes:
        revision (int): The number of the newest revision after it. All changes of a batch are one revision.
        objects (list[BatchedObject]): The results of the operations, in the same order.
        warnings (list[ConfigurationWarning]): Warnings about the objects, and what still points to an object that is
            deleted, disabled or renamed. The pointers are into the request. Of very many objects not all are checked.
    """

    revision: int
    objects: list[BatchedObject]
    warnings: list[ConfigurationWarning]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        revision = self.revision

        objects = []
        for objects_item_data in self.objects:
            objects_item = objects_item_data.to_dict()
            objects.append(objects_item)

        warnings = []
        for warnings_item_data in self.warnings:
            warnings_item = warnings_item_data.to_dict()
            warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "revision": revision,
                "objects": objects,
                "warnings": warnings,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.batched_object import BatchedObject  # noqa: PLC0415
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415

        d = dict(src_dict)
        revision = d.pop("revision")

        objects = []
        _objects = d.pop("objects")
        for objects_item_data in _objects:
            objects_item = BatchedObject.from_dict(objects_item_data)

            objects.append(objects_item)

        warnings = []
        _warnings = d.pop("warnings")
        for warnings_item_data in _warnings:
            warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

            warnings.append(warnings_item)

        batch_result = cls(
            revision=revision,
            objects=objects,
            warnings=warnings,
        )

        batch_result.additional_properties = d
        return batch_result

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
