from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="RouteHost")


@_attrs_define
class RouteHost:
    """A host that would be tried, or the reason why not.

    Attributes:
        preference (int): MX preference.
        host (str): Its name.
        port (int | None): The TCP port.
        addresses (list[str]): Its addresses.
        left_out (None | str): Why it would not be tried. null means that it would.
    """

    preference: int
    host: str
    port: int | None
    addresses: list[str]
    left_out: None | str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        preference = self.preference

        host = self.host

        port: int | None
        port = self.port

        addresses = self.addresses

        left_out: None | str
        left_out = self.left_out

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "preference": preference,
                "host": host,
                "port": port,
                "addresses": addresses,
                "left_out": left_out,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        preference = d.pop("preference")

        host = d.pop("host")

        def _parse_port(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        port = _parse_port(d.pop("port"))

        addresses = cast(list[str], d.pop("addresses"))

        def _parse_left_out(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        left_out = _parse_left_out(d.pop("left_out"))

        route_host = cls(
            preference=preference,
            host=host,
            port=port,
            addresses=addresses,
            left_out=left_out,
        )

        route_host.additional_properties = d
        return route_host

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
