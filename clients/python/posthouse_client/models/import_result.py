from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning
    from ..models.object_change import ObjectChange


T = TypeVar("T", bound="ImportResult")


@_attrs_define
class ImportResult:
    """The changes that an import made, or would make with dry_run.

    Attributes:
        revision (int): The number of the newest revision after it.
        made (int): The number of objects that were added.
        changed (int): The number of objects that were changed.
        removed (int): The number of objects that were removed, because the document does not have them.
        changes (list[ObjectChange]): The first 1000 of the changes.
        warnings (list[ConfigurationWarning]): Warnings about the objects that are made or changed. The pointers are
            into the document. The search takes only a few seconds, so it may not cover all of very many objects.
    """

    revision: int
    made: int
    changed: int
    removed: int
    changes: list[ObjectChange]
    warnings: list[ConfigurationWarning]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        revision = self.revision

        made = self.made

        changed = self.changed

        removed = self.removed

        changes = []
        for changes_item_data in self.changes:
            changes_item = changes_item_data.to_dict()
            changes.append(changes_item)

        warnings = []
        for warnings_item_data in self.warnings:
            warnings_item = warnings_item_data.to_dict()
            warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "revision": revision,
                "made": made,
                "changed": changed,
                "removed": removed,
                "changes": changes,
                "warnings": warnings,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415
        from ..models.object_change import ObjectChange  # noqa: PLC0415

        d = dict(src_dict)
        revision = d.pop("revision")

        made = d.pop("made")

        changed = d.pop("changed")

        removed = d.pop("removed")

        changes = []
        _changes = d.pop("changes")
        for changes_item_data in _changes:
            changes_item = ObjectChange.from_dict(changes_item_data)

            changes.append(changes_item)

        warnings = []
        _warnings = d.pop("warnings")
        for warnings_item_data in _warnings:
            warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

            warnings.append(warnings_item)

        import_result = cls(
            revision=revision,
            made=made,
            changed=changed,
            removed=removed,
            changes=changes,
            warnings=warnings,
        )

        import_result.additional_properties = d
        return import_result

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
