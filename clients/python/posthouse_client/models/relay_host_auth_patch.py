from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="RelayHostAuthPatch")


@_attrs_define
class RelayHostAuthPatch:
    """A merge patch (RFC 7396) of RelayHostAuth: absent members do not change, and null sets the default.

    Attributes:
        username (str | Unset): Login name.
        password (None | str | Unset): Write-only, without control characters, encrypted at rest. If a PUT or PATCH
            leaves it out, it is kept, except when host, port, fallback_hosts or username change. Then it must be given
            again.
        allow_without_tls (bool | None | Unset): Log in even without TLS. false means that the mail is deferred (4.7.0)
            instead.
    """

    username: str | Unset = UNSET
    password: None | str | Unset = UNSET
    allow_without_tls: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        username = self.username

        password: None | str | Unset
        if isinstance(self.password, Unset):
            password = UNSET
        else:
            password = self.password

        allow_without_tls: bool | None | Unset
        if isinstance(self.allow_without_tls, Unset):
            allow_without_tls = UNSET
        else:
            allow_without_tls = self.allow_without_tls

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if username is not UNSET:
            field_dict["username"] = username
        if password is not UNSET:
            field_dict["password"] = password
        if allow_without_tls is not UNSET:
            field_dict["allow_without_tls"] = allow_without_tls

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        username = d.pop("username", UNSET)

        def _parse_password(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        password = _parse_password(d.pop("password", UNSET))

        def _parse_allow_without_tls(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        allow_without_tls = _parse_allow_without_tls(d.pop("allow_without_tls", UNSET))

        relay_host_auth_patch = cls(
            username=username,
            password=password,
            allow_without_tls=allow_without_tls,
        )

        return relay_host_auth_patch
