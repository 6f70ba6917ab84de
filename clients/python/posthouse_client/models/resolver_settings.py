from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning


T = TypeVar("T", bound="ResolverSettings")


@_attrs_define
class ResolverSettings:
    """The name servers for relay domains. The MX sets of both lists are merged.

    Attributes:
        preferred (list[str] | Unset): The first group. Empty means the name servers of the system.
        alternate (list[str] | Unset): The second group. Empty means that only the first group is asked.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
    """

    preferred: list[str] | Unset = UNSET
    alternate: list[str] | Unset = UNSET
    warnings: list[ConfigurationWarning] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        preferred: list[str] | Unset = UNSET
        if not isinstance(self.preferred, Unset):
            preferred = self.preferred

        alternate: list[str] | Unset = UNSET
        if not isinstance(self.alternate, Unset):
            alternate = self.alternate

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if preferred is not UNSET:
            field_dict["preferred"] = preferred
        if alternate is not UNSET:
            field_dict["alternate"] = alternate
        if warnings is not UNSET:
            field_dict["warnings"] = warnings

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415

        d = dict(src_dict)
        preferred = cast(list[str], d.pop("preferred", UNSET))

        alternate = cast(list[str], d.pop("alternate", UNSET))

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        resolver_settings = cls(
            preferred=preferred,
            alternate=alternate,
            warnings=warnings,
        )

        resolver_settings.additional_properties = d
        return resolver_settings

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
