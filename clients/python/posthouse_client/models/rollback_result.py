from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.object_change import ObjectChange


T = TypeVar("T", bound="RollbackResult")


@_attrs_define
class RollbackResult:
    """The objects that a rollback changed, or would change with dry_run.

    Attributes:
        revision (int): The number of the newest revision after it.
        changes (list[ObjectChange]): The objects that differ.
    """

    revision: int
    changes: list[ObjectChange]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        revision = self.revision

        changes = []
        for changes_item_data in self.changes:
            changes_item = changes_item_data.to_dict()
            changes.append(changes_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "revision": revision,
                "changes": changes,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.object_change import ObjectChange  # noqa: PLC0415

        d = dict(src_dict)
        revision = d.pop("revision")

        changes = []
        _changes = d.pop("changes")
        for changes_item_data in _changes:
            changes_item = ObjectChange.from_dict(changes_item_data)

            changes.append(changes_item)

        rollback_result = cls(
            revision=revision,
            changes=changes,
        )

        rollback_result.additional_properties = d
        return rollback_result

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
