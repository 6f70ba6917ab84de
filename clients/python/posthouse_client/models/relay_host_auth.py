from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="RelayHostAuth")


@_attrs_define
class RelayHostAuth:
    """The login at a relay host.

    Attributes:
        username (str): Login name.
        password (None | str | Unset): Write-only, without control characters, encrypted at rest. If a PUT or PATCH
            leaves it out, it is kept, except when host, port, fallback_hosts or username change. Then it must be given
            again.
        allow_without_tls (bool | Unset): Log in even without TLS. false means that the mail is deferred (4.7.0)
            instead. Default: False.
    """

    username: str
    password: None | str | Unset = UNSET
    allow_without_tls: bool | Unset = False
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        username = self.username

        password: None | str | Unset
        if isinstance(self.password, Unset):
            password = UNSET
        else:
            password = self.password

        allow_without_tls = self.allow_without_tls

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "username": username,
            }
        )
        if password is not UNSET:
            field_dict["password"] = password
        if allow_without_tls is not UNSET:
            field_dict["allow_without_tls"] = allow_without_tls

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        username = d.pop("username")

        def _parse_password(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        password = _parse_password(d.pop("password", UNSET))

        allow_without_tls = d.pop("allow_without_tls", UNSET)

        relay_host_auth = cls(
            username=username,
            password=password,
            allow_without_tls=allow_without_tls,
        )

        relay_host_auth.additional_properties = d
        return relay_host_auth

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
