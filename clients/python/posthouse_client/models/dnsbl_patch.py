from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode, check_mode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.dnsbl_zone import DnsblZone


T = TypeVar("T", bound="DnsblPatch")


@_attrs_define
class DnsblPatch:
    """A merge patch (RFC 7396) of Dnsbl: absent members do not change, and null sets the default.

    Attributes:
        mode (Mode | None | Unset): off: the rule is not checked. shadow: a match is recorded and counted, but never
            refused. enforce: a match is refused.
        zones (list[DnsblZone] | None | Unset): The lists that are asked.
    """

    mode: Mode | None | Unset = UNSET
    zones: list[DnsblZone] | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        mode: None | str | Unset
        if isinstance(self.mode, Unset):
            mode = UNSET
        elif isinstance(self.mode, str):
            mode = self.mode
        else:
            mode = self.mode

        zones: list[dict[str, Any]] | None | Unset
        if isinstance(self.zones, Unset):
            zones = UNSET
        elif isinstance(self.zones, list):
            zones = []
            for zones_type_0_item_data in self.zones:
                zones_type_0_item = zones_type_0_item_data.to_dict()
                zones.append(zones_type_0_item)

        else:
            zones = self.zones

        field_dict: dict[str, Any] = {}

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

        def _parse_mode(data: object) -> Mode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                mode_type_0 = check_mode(data)

                return mode_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Mode | None | Unset, data)

        mode = _parse_mode(d.pop("mode", UNSET))

        def _parse_zones(data: object) -> list[DnsblZone] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                zones_type_0 = []
                _zones_type_0 = data
                for zones_type_0_item_data in _zones_type_0:
                    zones_type_0_item = DnsblZone.from_dict(zones_type_0_item_data)

                    zones_type_0.append(zones_type_0_item)

                return zones_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[DnsblZone] | None | Unset, data)

        zones = _parse_zones(d.pop("zones", UNSET))

        dnsbl_patch = cls(
            mode=mode,
            zones=zones,
        )

        return dnsbl_patch
