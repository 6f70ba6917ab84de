from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="TrustedNetworkPatch")


@_attrs_define
class TrustedNetworkPatch:
    """A merge patch (RFC 7396) of TrustedNetwork: absent members do not change, and null sets the default.

    Attributes:
        name (str | Unset): The name for people. It is unique in its list, without regard to case.
        networks (list[str] | Unset): The networks.
        enabled (bool | None | Unset): false means that it has no effect.
    """

    name: str | Unset = UNSET
    networks: list[str] | Unset = UNSET
    enabled: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        networks: list[str] | Unset = UNSET
        if not isinstance(self.networks, Unset):
            networks = self.networks

        enabled: bool | None | Unset
        if isinstance(self.enabled, Unset):
            enabled = UNSET
        else:
            enabled = self.enabled

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if name is not UNSET:
            field_dict["name"] = name
        if networks is not UNSET:
            field_dict["networks"] = networks
        if enabled is not UNSET:
            field_dict["enabled"] = enabled

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = d.pop("name", UNSET)

        networks = cast(list[str], d.pop("networks", UNSET))

        def _parse_enabled(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        enabled = _parse_enabled(d.pop("enabled", UNSET))

        trusted_network_patch = cls(
            name=name,
            networks=networks,
            enabled=enabled,
        )

        return trusted_network_patch
