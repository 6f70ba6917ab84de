from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode, check_mode
from ..models.spf_softfail_action import SpfSoftfailAction, check_spf_softfail_action
from ..types import UNSET, Unset

T = TypeVar("T", bound="SpfPatch")


@_attrs_define
class SpfPatch:
    """A merge patch (RFC 7396) of Spf: absent members do not change, and null sets the default.

    Attributes:
        mode (Mode | None | Unset): off: the rule is not checked. shadow: a match is recorded and counted, but never
            refused. enforce: a match is refused.
        on_softfail (None | SpfSoftfailAction | Unset): The action for a softfail.
        reject_permerror (bool | None | Unset): Mail is also refused (5.7.24) when the record cannot be used.
    """

    mode: Mode | None | Unset = UNSET
    on_softfail: None | SpfSoftfailAction | Unset = UNSET
    reject_permerror: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        mode: None | str | Unset
        if isinstance(self.mode, Unset):
            mode = UNSET
        elif isinstance(self.mode, str):
            mode = self.mode
        else:
            mode = self.mode

        on_softfail: None | str | Unset
        if isinstance(self.on_softfail, Unset):
            on_softfail = UNSET
        elif isinstance(self.on_softfail, str):
            on_softfail = self.on_softfail
        else:
            on_softfail = self.on_softfail

        reject_permerror: bool | None | Unset
        if isinstance(self.reject_permerror, Unset):
            reject_permerror = UNSET
        else:
            reject_permerror = self.reject_permerror

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if mode is not UNSET:
            field_dict["mode"] = mode
        if on_softfail is not UNSET:
            field_dict["on_softfail"] = on_softfail
        if reject_permerror is not UNSET:
            field_dict["reject_permerror"] = reject_permerror

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_mode(data: object) -> Mode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                mode_type_0 = check_mode(data)

                return mode_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Mode | None | Unset, data)

        mode = _parse_mode(d.pop("mode", UNSET))

        def _parse_on_softfail(data: object) -> None | SpfSoftfailAction | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                on_softfail_type_0 = check_spf_softfail_action(data)

                return on_softfail_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SpfSoftfailAction | Unset, data)

        on_softfail = _parse_on_softfail(d.pop("on_softfail", UNSET))

        def _parse_reject_permerror(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        reject_permerror = _parse_reject_permerror(d.pop("reject_permerror", UNSET))

        spf_patch = cls(
            mode=mode,
            on_softfail=on_softfail,
            reject_permerror=reject_permerror,
        )

        return spf_patch
