from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode, check_mode
from ..types import UNSET, Unset

T = TypeVar("T", bound="DmarcPatch")


@_attrs_define
class DmarcPatch:
    """A merge patch (RFC 7396) of Dmarc: absent members do not change, and null sets the default.

    Attributes:
        mode (Mode | None | Unset): off: the rule is not checked. shadow: a match is recorded and counted, but never
            refused. enforce: a match is refused.
    """

    mode: Mode | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        mode: None | str | Unset
        if isinstance(self.mode, Unset):
            mode = UNSET
        elif isinstance(self.mode, str):
            mode = self.mode
        else:
            mode = self.mode

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if mode is not UNSET:
            field_dict["mode"] = mode

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

        dmarc_patch = cls(
            mode=mode,
        )

        return dmarc_patch
