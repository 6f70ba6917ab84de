from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.mode import Mode, check_mode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.dnsbl_zone import DnsblZone


T = TypeVar("T", bound="Dnsbl")


@_attrs_define
class Dnsbl:
    """DNS block lists of clients (RFC 5782).

    Attributes:
        mode (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing is refused.
            enforce: it refuses.
        zones (list[DnsblZone] | Unset): The lists that are asked.
    """

    mode: Mode | Unset = UNSET
    zones: list[DnsblZone] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        mode: str | Unset = UNSET
        if not isinstance(self.mode, Unset):
            mode = self.mode

        zones: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.zones, Unset):
            zones = []
            for zones_item_data in self.zones:
                zones_item = zones_item_data.to_dict()
                zones.append(zones_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if mode is not UNSET:
            field_dict["mode"] = mode
        if zones is not UNSET:
            field_dict["zones"] = zones

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.dnsbl_zone import DnsblZone  # noqa: PLC0415

        d = dict(src_dict)
        _mode = d.pop("mode", UNSET)
        mode: Mode | Unset
        if isinstance(_mode, Unset):
            mode = UNSET
        else:
            mode = check_mode(_mode)

        _zones = d.pop("zones", UNSET)
        zones: list[DnsblZone] | Unset = UNSET
        if _zones is not UNSET:
            zones = []
            for zones_item_data in _zones:
                zones_item = DnsblZone.from_dict(zones_item_data)

                zones.append(zones_item)

        dnsbl = cls(
            mode=mode,
            zones=zones,
        )

        dnsbl.additional_properties = d
        return dnsbl

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
