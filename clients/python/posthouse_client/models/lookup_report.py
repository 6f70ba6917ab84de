from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="LookupReport")


@_attrs_define
class LookupReport:
    """One question to the DNS.

    Attributes:
        name (str): Its name.
        outcome (str): Its result.
        detail (None | str): The records that were found.
        took_us (int): Microseconds.
    """

    name: str
    outcome: str
    detail: None | str
    took_us: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        outcome = self.outcome

        detail: None | str
        detail = self.detail

        took_us = self.took_us

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "outcome": outcome,
                "detail": detail,
                "took_us": took_us,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = d.pop("name")

        outcome = d.pop("outcome")

        def _parse_detail(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        detail = _parse_detail(d.pop("detail"))

        took_us = d.pop("took_us")

        lookup_report = cls(
            name=name,
            outcome=outcome,
            detail=detail,
            took_us=took_us,
        )

        lookup_report.additional_properties = d
        return lookup_report

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
