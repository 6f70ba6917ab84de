from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode, check_mode
from ..types import UNSET, Unset

T = TypeVar("T", bound="SenderPolicySettingsPatch")


@_attrs_define
class SenderPolicySettingsPatch:
    """A merge patch (RFC 7396) of SenderPolicySettings: absent members do not change, and null sets the default.

    Attributes:
        reject_non_fqdn_sender (Mode | None | Unset): Whether a sender's domain that is not fully qualified is refused
            with 504 5.5.2.
        reject_unknown_sender_domain (Mode | None | Unset): Whether a sender's domain without MX, A or AAAA records is
            refused with 550 5.1.8, unless the recipient is an account here.
    """

    reject_non_fqdn_sender: Mode | None | Unset = UNSET
    reject_unknown_sender_domain: Mode | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        reject_non_fqdn_sender: None | str | Unset
        if isinstance(self.reject_non_fqdn_sender, Unset):
            reject_non_fqdn_sender = UNSET
        elif isinstance(self.reject_non_fqdn_sender, str):
            reject_non_fqdn_sender = self.reject_non_fqdn_sender
        else:
            reject_non_fqdn_sender = self.reject_non_fqdn_sender

        reject_unknown_sender_domain: None | str | Unset
        if isinstance(self.reject_unknown_sender_domain, Unset):
            reject_unknown_sender_domain = UNSET
        elif isinstance(self.reject_unknown_sender_domain, str):
            reject_unknown_sender_domain = self.reject_unknown_sender_domain
        else:
            reject_unknown_sender_domain = self.reject_unknown_sender_domain

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if reject_non_fqdn_sender is not UNSET:
            field_dict["reject_non_fqdn_sender"] = reject_non_fqdn_sender
        if reject_unknown_sender_domain is not UNSET:
            field_dict["reject_unknown_sender_domain"] = reject_unknown_sender_domain

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_reject_non_fqdn_sender(data: object) -> Mode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                reject_non_fqdn_sender_type_0 = check_mode(data)

                return reject_non_fqdn_sender_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Mode | None | Unset, data)

        reject_non_fqdn_sender = _parse_reject_non_fqdn_sender(d.pop("reject_non_fqdn_sender", UNSET))

        def _parse_reject_unknown_sender_domain(data: object) -> Mode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                reject_unknown_sender_domain_type_0 = check_mode(data)

                return reject_unknown_sender_domain_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Mode | None | Unset, data)

        reject_unknown_sender_domain = _parse_reject_unknown_sender_domain(d.pop("reject_unknown_sender_domain", UNSET))

        sender_policy_settings_patch = cls(
            reject_non_fqdn_sender=reject_non_fqdn_sender,
            reject_unknown_sender_domain=reject_unknown_sender_domain,
        )

        return sender_policy_settings_patch
