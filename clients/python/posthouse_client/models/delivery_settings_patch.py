from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.delivery_mode import DeliveryMode, check_delivery_mode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.relay_host_patch import RelayHostPatch


T = TypeVar("T", bound="DeliverySettingsPatch")


@_attrs_define
class DeliverySettingsPatch:
    """A merge patch (RFC 7396) of DeliverySettings: absent members do not change, and null sets the default.

    Attributes:
        mode (DeliveryMode | None | Unset): direct sends to the MX of each recipient's domain. relay_host sends all
            through relay_host.
        relay_host (None | RelayHostPatch | Unset): The single relay host, which mode relay_host needs.
    """

    mode: DeliveryMode | None | Unset = UNSET
    relay_host: None | RelayHostPatch | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.relay_host_patch import RelayHostPatch  # noqa: PLC0415

        mode: None | str | Unset
        if isinstance(self.mode, Unset):
            mode = UNSET
        elif isinstance(self.mode, str):
            mode = self.mode
        else:
            mode = self.mode

        relay_host: dict[str, Any] | None | Unset
        if isinstance(self.relay_host, Unset):
            relay_host = UNSET
        elif isinstance(self.relay_host, RelayHostPatch):
            relay_host = self.relay_host.to_dict()
        else:
            relay_host = self.relay_host

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if mode is not UNSET:
            field_dict["mode"] = mode
        if relay_host is not UNSET:
            field_dict["relay_host"] = relay_host

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.relay_host_patch import RelayHostPatch  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_mode(data: object) -> DeliveryMode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                mode_type_0 = check_delivery_mode(data)

                return mode_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DeliveryMode | None | Unset, data)

        mode = _parse_mode(d.pop("mode", UNSET))

        def _parse_relay_host(data: object) -> None | RelayHostPatch | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                relay_host_type_0 = RelayHostPatch.from_dict(data)

                return relay_host_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RelayHostPatch | Unset, data)

        relay_host = _parse_relay_host(d.pop("relay_host", UNSET))

        delivery_settings_patch = cls(
            mode=mode,
            relay_host=relay_host,
        )

        return delivery_settings_patch
