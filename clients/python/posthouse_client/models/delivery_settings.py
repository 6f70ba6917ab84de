from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.delivery_mode import DeliveryMode, check_delivery_mode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning
    from ..models.relay_host import RelayHost


T = TypeVar("T", bound="DeliverySettings")


@_attrs_define
class DeliverySettings:
    """The route of mail that no rule matches.

    Attributes:
        mode (DeliveryMode | Unset): Where mail goes that no rule matches.
        relay_host (None | RelayHost | Unset): The single relay host, which mode relay_host needs.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
    """

    mode: DeliveryMode | Unset = UNSET
    relay_host: None | RelayHost | Unset = UNSET
    warnings: list[ConfigurationWarning] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.relay_host import RelayHost  # noqa: PLC0415

        mode: str | Unset = UNSET
        if not isinstance(self.mode, Unset):
            mode = self.mode

        relay_host: dict[str, Any] | None | Unset
        if isinstance(self.relay_host, Unset):
            relay_host = UNSET
        elif isinstance(self.relay_host, RelayHost):
            relay_host = self.relay_host.to_dict()
        else:
            relay_host = self.relay_host

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if mode is not UNSET:
            field_dict["mode"] = mode
        if relay_host is not UNSET:
            field_dict["relay_host"] = relay_host
        if warnings is not UNSET:
            field_dict["warnings"] = warnings

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415
        from ..models.relay_host import RelayHost  # noqa: PLC0415

        d = dict(src_dict)
        _mode = d.pop("mode", UNSET)
        mode: DeliveryMode | Unset
        if isinstance(_mode, Unset):
            mode = UNSET
        else:
            mode = check_delivery_mode(_mode)

        def _parse_relay_host(data: object) -> None | RelayHost | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                relay_host_type_0 = RelayHost.from_dict(data)

                return relay_host_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RelayHost | Unset, data)

        relay_host = _parse_relay_host(d.pop("relay_host", UNSET))

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        delivery_settings = cls(
            mode=mode,
            relay_host=relay_host,
            warnings=warnings,
        )

        delivery_settings.additional_properties = d
        return delivery_settings

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
