from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.mode import Mode, check_mode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning


T = TypeVar("T", bound="SenderPolicySettings")


@_attrs_define
class SenderPolicySettings:
    """The checks of a sender's domain.

    Attributes:
        reject_non_fqdn_sender (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing
            is refused. enforce: it refuses.
        reject_unknown_sender_domain (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and
            nothing is refused. enforce: it refuses.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
    """

    reject_non_fqdn_sender: Mode | Unset = UNSET
    reject_unknown_sender_domain: Mode | Unset = UNSET
    warnings: list[ConfigurationWarning] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        reject_non_fqdn_sender: str | Unset = UNSET
        if not isinstance(self.reject_non_fqdn_sender, Unset):
            reject_non_fqdn_sender = self.reject_non_fqdn_sender

        reject_unknown_sender_domain: str | Unset = UNSET
        if not isinstance(self.reject_unknown_sender_domain, Unset):
            reject_unknown_sender_domain = self.reject_unknown_sender_domain

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if reject_non_fqdn_sender is not UNSET:
            field_dict["reject_non_fqdn_sender"] = reject_non_fqdn_sender
        if reject_unknown_sender_domain is not UNSET:
            field_dict["reject_unknown_sender_domain"] = reject_unknown_sender_domain
        if warnings is not UNSET:
            field_dict["warnings"] = warnings

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415

        d = dict(src_dict)
        _reject_non_fqdn_sender = d.pop("reject_non_fqdn_sender", UNSET)
        reject_non_fqdn_sender: Mode | Unset
        if isinstance(_reject_non_fqdn_sender, Unset):
            reject_non_fqdn_sender = UNSET
        else:
            reject_non_fqdn_sender = check_mode(_reject_non_fqdn_sender)

        _reject_unknown_sender_domain = d.pop("reject_unknown_sender_domain", UNSET)
        reject_unknown_sender_domain: Mode | Unset
        if isinstance(_reject_unknown_sender_domain, Unset):
            reject_unknown_sender_domain = UNSET
        else:
            reject_unknown_sender_domain = check_mode(_reject_unknown_sender_domain)

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        sender_policy_settings = cls(
            reject_non_fqdn_sender=reject_non_fqdn_sender,
            reject_unknown_sender_domain=reject_unknown_sender_domain,
            warnings=warnings,
        )

        sender_policy_settings.additional_properties = d
        return sender_policy_settings

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
