from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.mode import Mode, check_mode
from ..models.spf_softfail_action import SpfSoftfailAction, check_spf_softfail_action
from ..types import UNSET, Unset

T = TypeVar("T", bound="Spf")


@_attrs_define
class Spf:
    """RFC 7208.

    Attributes:
        mode (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing is refused.
            enforce: it refuses.
        on_softfail (SpfSoftfailAction | Unset): The action for a softfail of SPF.
        reject_permerror (bool | Unset): Mail is also refused (5.7.24) when the record cannot be used. Default: False.
    """

    mode: Mode | Unset = UNSET
    on_softfail: SpfSoftfailAction | Unset = UNSET
    reject_permerror: bool | Unset = False
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        mode: str | Unset = UNSET
        if not isinstance(self.mode, Unset):
            mode = self.mode

        on_softfail: str | Unset = UNSET
        if not isinstance(self.on_softfail, Unset):
            on_softfail = self.on_softfail

        reject_permerror = self.reject_permerror

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
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
        _mode = d.pop("mode", UNSET)
        mode: Mode | Unset
        if isinstance(_mode, Unset):
            mode = UNSET
        else:
            mode = check_mode(_mode)

        _on_softfail = d.pop("on_softfail", UNSET)
        on_softfail: SpfSoftfailAction | Unset
        if isinstance(_on_softfail, Unset):
            on_softfail = UNSET
        else:
            on_softfail = check_spf_softfail_action(_on_softfail)

        reject_permerror = d.pop("reject_permerror", UNSET)

        spf = cls(
            mode=mode,
            on_softfail=on_softfail,
            reject_permerror=reject_permerror,
        )

        spf.additional_properties = d
        return spf

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
