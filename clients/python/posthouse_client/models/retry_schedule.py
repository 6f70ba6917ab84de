from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="RetrySchedule")


@_attrs_define
class RetrySchedule:
    """The times between attempts, before they are spread at random.

    Attributes:
        first_minutes (float | Unset): The time before the second attempt, in minutes. Default: 5.0.
        growth (float | Unset): Each time between attempts is the previous one multiplied by this. Default: 1.5.
        max_minutes (float | Unset): The longest time between attempts, in minutes. Default: 120.0.
    """

    first_minutes: float | Unset = 5.0
    growth: float | Unset = 1.5
    max_minutes: float | Unset = 120.0
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        first_minutes = self.first_minutes

        growth = self.growth

        max_minutes = self.max_minutes

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if first_minutes is not UNSET:
            field_dict["first_minutes"] = first_minutes
        if growth is not UNSET:
            field_dict["growth"] = growth
        if max_minutes is not UNSET:
            field_dict["max_minutes"] = max_minutes

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        first_minutes = d.pop("first_minutes", UNSET)

        growth = d.pop("growth", UNSET)

        max_minutes = d.pop("max_minutes", UNSET)

        retry_schedule = cls(
            first_minutes=first_minutes,
            growth=growth,
            max_minutes=max_minutes,
        )

        retry_schedule.additional_properties = d
        return retry_schedule

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
