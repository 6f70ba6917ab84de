from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="SmtpAuthPatch")


@_attrs_define
class SmtpAuthPatch:
    """A merge patch (RFC 7396) of SmtpAuth: absent members do not change, and null sets the default.

    Attributes:
        enabled (bool | None | Unset): Whether AUTH PLAIN and LOGIN are offered. With false, only trusted networks, and
            local ones that need no login, may send to other domains.
        skip_for_local_networks (bool | None | Unset): Whether clients in local_networks need no login to send, on any
            port.
        local_networks (list[str] | None | Unset): The networks for skip_for_local_networks.
        sender_must_match_login (bool | None | Unset): Whether MAIL FROM and the From field must be addresses of the
            logged-in account.
        skip_sender_match_for_trusted_networks (bool | None | Unset): Whether trusted networks are exempt from
            sender_must_match_login.
        forbid_plaintext_auth_without_tls (bool | None | Unset): Whether AUTH is refused without TLS.
    """

    enabled: bool | None | Unset = UNSET
    skip_for_local_networks: bool | None | Unset = UNSET
    local_networks: list[str] | None | Unset = UNSET
    sender_must_match_login: bool | None | Unset = UNSET
    skip_sender_match_for_trusted_networks: bool | None | Unset = UNSET
    forbid_plaintext_auth_without_tls: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        enabled: bool | None | Unset
        if isinstance(self.enabled, Unset):
            enabled = UNSET
        else:
            enabled = self.enabled

        skip_for_local_networks: bool | None | Unset
        if isinstance(self.skip_for_local_networks, Unset):
            skip_for_local_networks = UNSET
        else:
            skip_for_local_networks = self.skip_for_local_networks

        local_networks: list[str] | None | Unset
        if isinstance(self.local_networks, Unset):
            local_networks = UNSET
        elif isinstance(self.local_networks, list):
            local_networks = self.local_networks

        else:
            local_networks = self.local_networks

        sender_must_match_login: bool | None | Unset
        if isinstance(self.sender_must_match_login, Unset):
            sender_must_match_login = UNSET
        else:
            sender_must_match_login = self.sender_must_match_login

        skip_sender_match_for_trusted_networks: bool | None | Unset
        if isinstance(self.skip_sender_match_for_trusted_networks, Unset):
            skip_sender_match_for_trusted_networks = UNSET
        else:
            skip_sender_match_for_trusted_networks = self.skip_sender_match_for_trusted_networks

        forbid_plaintext_auth_without_tls: bool | None | Unset
        if isinstance(self.forbid_plaintext_auth_without_tls, Unset):
            forbid_plaintext_auth_without_tls = UNSET
        else:
            forbid_plaintext_auth_without_tls = self.forbid_plaintext_auth_without_tls

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if enabled is not UNSET:
            field_dict["enabled"] = enabled
        if skip_for_local_networks is not UNSET:
            field_dict["skip_for_local_networks"] = skip_for_local_networks
        if local_networks is not UNSET:
            field_dict["local_networks"] = local_networks
        if sender_must_match_login is not UNSET:
            field_dict["sender_must_match_login"] = sender_must_match_login
        if skip_sender_match_for_trusted_networks is not UNSET:
            field_dict["skip_sender_match_for_trusted_networks"] = skip_sender_match_for_trusted_networks
        if forbid_plaintext_auth_without_tls is not UNSET:
            field_dict["forbid_plaintext_auth_without_tls"] = forbid_plaintext_auth_without_tls

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_enabled(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        enabled = _parse_enabled(d.pop("enabled", UNSET))

        def _parse_skip_for_local_networks(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        skip_for_local_networks = _parse_skip_for_local_networks(d.pop("skip_for_local_networks", UNSET))

        def _parse_local_networks(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                local_networks_type_0 = cast(list[str], data)

                return local_networks_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        local_networks = _parse_local_networks(d.pop("local_networks", UNSET))

        def _parse_sender_must_match_login(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        sender_must_match_login = _parse_sender_must_match_login(d.pop("sender_must_match_login", UNSET))

        def _parse_skip_sender_match_for_trusted_networks(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        skip_sender_match_for_trusted_networks = _parse_skip_sender_match_for_trusted_networks(
            d.pop("skip_sender_match_for_trusted_networks", UNSET)
        )

        def _parse_forbid_plaintext_auth_without_tls(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        forbid_plaintext_auth_without_tls = _parse_forbid_plaintext_auth_without_tls(
            d.pop("forbid_plaintext_auth_without_tls", UNSET)
        )

        smtp_auth_patch = cls(
            enabled=enabled,
            skip_for_local_networks=skip_for_local_networks,
            local_networks=local_networks,
            sender_must_match_login=sender_must_match_login,
            skip_sender_match_for_trusted_networks=skip_sender_match_for_trusted_networks,
            forbid_plaintext_auth_without_tls=forbid_plaintext_auth_without_tls,
        )

        return smtp_auth_patch
