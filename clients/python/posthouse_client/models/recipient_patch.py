from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="RecipientPatch")


@_attrs_define
class RecipientPatch:
    """A merge patch (RFC 7396) of Recipient: absent members do not change, and null sets the default.

    Attributes:
        address (str | Unset): A full e-mail address. The domain is stored as A-labels in lower case.
    """

    address: str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        address = self.address

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if address is not UNSET:
            field_dict["address"] = address

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        address = d.pop("address", UNSET)

        recipient_patch = cls(
            address=address,
        )

        return recipient_patch
