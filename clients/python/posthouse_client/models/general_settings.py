from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning
    from ..models.profile import Profile
    from ..models.smtp_auth import SmtpAuth


T = TypeVar("T", bound="GeneralSettings")


@_attrs_define
class GeneralSettings:
    """SMTP AUTH, the session profile, the external postmasters.

    Attributes:
        profile (Profile): The name and the banner of the gateway, and its limits for a message.
        smtp_auth (SmtpAuth | Unset): The rules about who must log in to send.
        external_postmasters (list[str] | Unset): The addresses that get the mail for postmaster@ and mailer-daemon@ of
            all local domains, and double bounces.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
    """

    profile: Profile
    smtp_auth: SmtpAuth | Unset = UNSET
    external_postmasters: list[str] | Unset = UNSET
    warnings: list[ConfigurationWarning] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        profile = self.profile.to_dict()

        smtp_auth: dict[str, Any] | Unset = UNSET
        if not isinstance(self.smtp_auth, Unset):
            smtp_auth = self.smtp_auth.to_dict()

        external_postmasters: list[str] | Unset = UNSET
        if not isinstance(self.external_postmasters, Unset):
            external_postmasters = self.external_postmasters

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "profile": profile,
            }
        )
        if smtp_auth is not UNSET:
            field_dict["smtp_auth"] = smtp_auth
        if external_postmasters is not UNSET:
            field_dict["external_postmasters"] = external_postmasters
        if warnings is not UNSET:
            field_dict["warnings"] = warnings

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415
        from ..models.profile import Profile  # noqa: PLC0415
        from ..models.smtp_auth import SmtpAuth  # noqa: PLC0415

        d = dict(src_dict)
        profile = Profile.from_dict(d.pop("profile"))

        _smtp_auth = d.pop("smtp_auth", UNSET)
        smtp_auth: SmtpAuth | Unset
        if isinstance(_smtp_auth, Unset):
            smtp_auth = UNSET
        else:
            smtp_auth = SmtpAuth.from_dict(_smtp_auth)

        external_postmasters = cast(list[str], d.pop("external_postmasters", UNSET))

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        general_settings = cls(
            profile=profile,
            smtp_auth=smtp_auth,
            external_postmasters=external_postmasters,
            warnings=warnings,
        )

        general_settings.additional_properties = d
        return general_settings

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
