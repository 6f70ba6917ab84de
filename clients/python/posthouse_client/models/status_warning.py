from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="StatusWarning")


@_attrs_define
class StatusWarning:
    """A setting that works but is probably a mistake.

    Attributes:
        code (str): The constant name of the warning.
        detail (str): A sentence for people.
        paths (list[str]): The first 20 settings that it is about.
        count (int): The number of settings that it is about.
    """

    code: str
    detail: str
    paths: list[str]
    count: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        code = self.code

        detail = self.detail

        paths = self.paths

        count = self.count

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "code": code,
                "detail": detail,
                "paths": paths,
                "count": count,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        code = d.pop("code")

        detail = d.pop("detail")

        paths = cast(list[str], d.pop("paths"))

        count = d.pop("count")

        status_warning = cls(
            code=code,
            detail=detail,
            paths=paths,
            count=count,
        )

        status_warning.additional_properties = d
        return status_warning

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
