from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="ResolverSettingsPatch")


@_attrs_define
class ResolverSettingsPatch:
    """A merge patch (RFC 7396) of ResolverSettings: absent members do not change, and null sets the default.

    Attributes:
        preferred (list[str] | None | Unset): The first group. Empty means the name servers of the system.
        alternate (list[str] | None | Unset): The second group. Empty means that only the first group is asked.
    """

    preferred: list[str] | None | Unset = UNSET
    alternate: list[str] | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        preferred: list[str] | None | Unset
        if isinstance(self.preferred, Unset):
            preferred = UNSET
        elif isinstance(self.preferred, list):
            preferred = self.preferred

        else:
            preferred = self.preferred

        alternate: list[str] | None | Unset
        if isinstance(self.alternate, Unset):
            alternate = UNSET
        elif isinstance(self.alternate, list):
            alternate = self.alternate

        else:
            alternate = self.alternate

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if preferred is not UNSET:
            field_dict["preferred"] = preferred
        if alternate is not UNSET:
            field_dict["alternate"] = alternate

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_preferred(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                preferred_type_0 = cast(list[str], data)

                return preferred_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        preferred = _parse_preferred(d.pop("preferred", UNSET))

        def _parse_alternate(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                alternate_type_0 = cast(list[str], data)

                return alternate_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        alternate = _parse_alternate(d.pop("alternate", UNSET))

        resolver_settings_patch = cls(
            preferred=preferred,
            alternate=alternate,
        )

        return resolver_settings_patch
