from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="AliasPatch")


@_attrs_define
class AliasPatch:
    """A merge patch (RFC 7396) of Alias: absent members do not change, and null sets the default.

    Attributes:
        address (str | Unset): A full e-mail address. The domain is stored as A-labels in lower case.
        targets (list[str] | Unset): The addresses to which the mail goes. An alias may name other aliases.
    """

    address: str | Unset = UNSET
    targets: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        address = self.address

        targets: list[str] | Unset = UNSET
        if not isinstance(self.targets, Unset):
            targets = self.targets

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if address is not UNSET:
            field_dict["address"] = address
        if targets is not UNSET:
            field_dict["targets"] = targets

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        address = d.pop("address", UNSET)

        targets = cast(list[str], d.pop("targets", UNSET))

        alias_patch = cls(
            address=address,
            targets=targets,
        )

        return alias_patch
