from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="KeyRotation")


@_attrs_define
class KeyRotation:
    """Options for the replacement of a key.

    Attributes:
        overlap_minutes (int | Unset): The time for which the previous key still works, so that its users can change it.
            0 means that it stops working at once. Default: 60.
    """

    overlap_minutes: int | Unset = 60

    def to_dict(self) -> dict[str, Any]:
        overlap_minutes = self.overlap_minutes

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if overlap_minutes is not UNSET:
            field_dict["overlap_minutes"] = overlap_minutes

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        overlap_minutes = d.pop("overlap_minutes", UNSET)

        key_rotation = cls(
            overlap_minutes=overlap_minutes,
        )

        return key_rotation
