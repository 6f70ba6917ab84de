from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.mode import Mode, check_mode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning


T = TypeVar("T", bound="ConnectionPolicySettings")


@_attrs_define
class ConnectionPolicySettings:
    """Limits and checks of clients by their addresses. Trusted networks are exempt.

    Attributes:
        reject_unknown_client_hostname (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and
            nothing is refused. enforce: it refuses.
        max_concurrent_connections (int | Unset): The most connections of one client at the same time. 0 means no limit.
            Default: 50.
        max_messages_per_minute (int | Unset): The most MAIL commands of one client in one minute of the clock. 0 means
            no limit. Default: 0.
        max_connections_per_minute (int | Unset): The most connections of one client in one minute of the clock. 0 means
            no limit. Default: 0.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
    """

    reject_unknown_client_hostname: Mode | Unset = UNSET
    max_concurrent_connections: int | Unset = 50
    max_messages_per_minute: int | Unset = 0
    max_connections_per_minute: int | Unset = 0
    warnings: list[ConfigurationWarning] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        reject_unknown_client_hostname: str | Unset = UNSET
        if not isinstance(self.reject_unknown_client_hostname, Unset):
            reject_unknown_client_hostname = self.reject_unknown_client_hostname

        max_concurrent_connections = self.max_concurrent_connections

        max_messages_per_minute = self.max_messages_per_minute

        max_connections_per_minute = self.max_connections_per_minute

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if reject_unknown_client_hostname is not UNSET:
            field_dict["reject_unknown_client_hostname"] = reject_unknown_client_hostname
        if max_concurrent_connections is not UNSET:
            field_dict["max_concurrent_connections"] = max_concurrent_connections
        if max_messages_per_minute is not UNSET:
            field_dict["max_messages_per_minute"] = max_messages_per_minute
        if max_connections_per_minute is not UNSET:
            field_dict["max_connections_per_minute"] = max_connections_per_minute
        if warnings is not UNSET:
            field_dict["warnings"] = warnings

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415

        d = dict(src_dict)
        _reject_unknown_client_hostname = d.pop("reject_unknown_client_hostname", UNSET)
        reject_unknown_client_hostname: Mode | Unset
        if isinstance(_reject_unknown_client_hostname, Unset):
            reject_unknown_client_hostname = UNSET
        else:
            reject_unknown_client_hostname = check_mode(_reject_unknown_client_hostname)

        max_concurrent_connections = d.pop("max_concurrent_connections", UNSET)

        max_messages_per_minute = d.pop("max_messages_per_minute", UNSET)

        max_connections_per_minute = d.pop("max_connections_per_minute", UNSET)

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        connection_policy_settings = cls(
            reject_unknown_client_hostname=reject_unknown_client_hostname,
            max_concurrent_connections=max_concurrent_connections,
            max_messages_per_minute=max_messages_per_minute,
            max_connections_per_minute=max_connections_per_minute,
            warnings=warnings,
        )

        connection_policy_settings.additional_properties = d
        return connection_policy_settings

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
