from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="SmtpAuth")


@_attrs_define
class SmtpAuth:
    """The rules about who must log in to send.

    Attributes:
        enabled (bool | Unset): Whether AUTH PLAIN and LOGIN are offered. With false, only trusted networks, and local
            ones that need no login, may send to other domains. Default: True.
        skip_for_local_networks (bool | Unset): Whether clients in local_networks need no login to send, on any port.
            Default: False.
        local_networks (list[str] | Unset): The networks for skip_for_local_networks.
        sender_must_match_login (bool | Unset): Whether MAIL FROM and the From field must be addresses of the logged-in
            account. Default: True.
        skip_sender_match_for_trusted_networks (bool | Unset): Whether trusted networks are exempt from
            sender_must_match_login. Default: False.
        forbid_plaintext_auth_without_tls (bool | Unset): Whether AUTH is refused without TLS. Default: True.
    """

    enabled: bool | Unset = True
    skip_for_local_networks: bool | Unset = False
    local_networks: list[str] | Unset = UNSET
    sender_must_match_login: bool | Unset = True
    skip_sender_match_for_trusted_networks: bool | Unset = False
    forbid_plaintext_auth_without_tls: bool | Unset = True
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        enabled = self.enabled

        skip_for_local_networks = self.skip_for_local_networks

        local_networks: list[str] | Unset = UNSET
        if not isinstance(self.local_networks, Unset):
            local_networks = self.local_networks

        sender_must_match_login = self.sender_must_match_login

        skip_sender_match_for_trusted_networks = self.skip_sender_match_for_trusted_networks

        forbid_plaintext_auth_without_tls = self.forbid_plaintext_auth_without_tls

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
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
        enabled = d.pop("enabled", UNSET)

        skip_for_local_networks = d.pop("skip_for_local_networks", UNSET)

        local_networks = cast(list[str], d.pop("local_networks", UNSET))

        sender_must_match_login = d.pop("sender_must_match_login", UNSET)

        skip_sender_match_for_trusted_networks = d.pop("skip_sender_match_for_trusted_networks", UNSET)

        forbid_plaintext_auth_without_tls = d.pop("forbid_plaintext_auth_without_tls", UNSET)

        smtp_auth = cls(
            enabled=enabled,
            skip_for_local_networks=skip_for_local_networks,
            local_networks=local_networks,
            sender_must_match_login=sender_must_match_login,
            skip_sender_match_for_trusted_networks=skip_sender_match_for_trusted_networks,
            forbid_plaintext_auth_without_tls=forbid_plaintext_auth_without_tls,
        )

        smtp_auth.additional_properties = d
        return smtp_auth

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
