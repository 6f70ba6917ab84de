from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="ArcPatch")


@_attrs_define
class ArcPatch:
    """A merge patch (RFC 7396) of Arc: absent members do not change, and null sets the default.

    Attributes:
        verify (bool | None | Unset): Verify ARC chains.
    """

    verify: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        verify: bool | None | Unset
        if isinstance(self.verify, Unset):
            verify = UNSET
        else:
            verify = self.verify

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if verify is not UNSET:
            field_dict["verify"] = verify

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_verify(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        verify = _parse_verify(d.pop("verify", UNSET))

        arc_patch = cls(
            verify=verify,
        )

        return arc_patch
