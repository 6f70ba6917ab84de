from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.profile_patch import ProfilePatch
    from ..models.smtp_auth_patch import SmtpAuthPatch


T = TypeVar("T", bound="GeneralSettingsPatch")


@_attrs_define
class GeneralSettingsPatch:
    """A merge patch (RFC 7396) of GeneralSettings: absent members do not change, and null sets the default.

    Attributes:
        smtp_auth (None | SmtpAuthPatch | Unset): The rules about who must log in to send.
        profile (ProfilePatch | Unset): A merge patch (RFC 7396) of Profile: absent members do not change, and null sets
            the default.
        external_postmasters (list[str] | None | Unset): The addresses that get the mail for postmaster@ and mailer-
            daemon@ of all local domains, and double bounces.
    """

    smtp_auth: None | SmtpAuthPatch | Unset = UNSET
    profile: ProfilePatch | Unset = UNSET
    external_postmasters: list[str] | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.smtp_auth_patch import SmtpAuthPatch  # noqa: PLC0415

        smtp_auth: dict[str, Any] | None | Unset
        if isinstance(self.smtp_auth, Unset):
            smtp_auth = UNSET
        elif isinstance(self.smtp_auth, SmtpAuthPatch):
            smtp_auth = self.smtp_auth.to_dict()
        else:
            smtp_auth = self.smtp_auth

        profile: dict[str, Any] | Unset = UNSET
        if not isinstance(self.profile, Unset):
            profile = self.profile.to_dict()

        external_postmasters: list[str] | None | Unset
        if isinstance(self.external_postmasters, Unset):
            external_postmasters = UNSET
        elif isinstance(self.external_postmasters, list):
            external_postmasters = self.external_postmasters

        else:
            external_postmasters = self.external_postmasters

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if smtp_auth is not UNSET:
            field_dict["smtp_auth"] = smtp_auth
        if profile is not UNSET:
            field_dict["profile"] = profile
        if external_postmasters is not UNSET:
            field_dict["external_postmasters"] = external_postmasters

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.profile_patch import ProfilePatch  # noqa: PLC0415
        from ..models.smtp_auth_patch import SmtpAuthPatch  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_smtp_auth(data: object) -> None | SmtpAuthPatch | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                smtp_auth_type_0 = SmtpAuthPatch.from_dict(data)

                return smtp_auth_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SmtpAuthPatch | Unset, data)

        smtp_auth = _parse_smtp_auth(d.pop("smtp_auth", UNSET))

        _profile = d.pop("profile", UNSET)
        profile: ProfilePatch | Unset
        if isinstance(_profile, Unset):
            profile = UNSET
        else:
            profile = ProfilePatch.from_dict(_profile)

        def _parse_external_postmasters(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                external_postmasters_type_0 = cast(list[str], data)

                return external_postmasters_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        external_postmasters = _parse_external_postmasters(d.pop("external_postmasters", UNSET))

        general_settings_patch = cls(
            smtp_auth=smtp_auth,
            profile=profile,
            external_postmasters=external_postmasters,
        )

        return general_settings_patch
