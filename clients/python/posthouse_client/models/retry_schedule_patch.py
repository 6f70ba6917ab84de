from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="RetrySchedulePatch")


@_attrs_define
class RetrySchedulePatch:
    """A merge patch (RFC 7396) of RetrySchedule: absent members do not change, and null sets the default.

    Attributes:
        first_minutes (float | None | Unset): The time before the second attempt, in minutes.
        growth (float | None | Unset): Each time between attempts is the previous one multiplied by this.
        max_minutes (float | None | Unset): The longest time between attempts, in minutes.
    """

    first_minutes: float | None | Unset = UNSET
    growth: float | None | Unset = UNSET
    max_minutes: float | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        first_minutes: float | None | Unset
        if isinstance(self.first_minutes, Unset):
            first_minutes = UNSET
        else:
            first_minutes = self.first_minutes

        growth: float | None | Unset
        if isinstance(self.growth, Unset):
            growth = UNSET
        else:
            growth = self.growth

        max_minutes: float | None | Unset
        if isinstance(self.max_minutes, Unset):
            max_minutes = UNSET
        else:
            max_minutes = self.max_minutes

        field_dict: dict[str, Any] = {}

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

        def _parse_first_minutes(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        first_minutes = _parse_first_minutes(d.pop("first_minutes", UNSET))

        def _parse_growth(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        growth = _parse_growth(d.pop("growth", UNSET))

        def _parse_max_minutes(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        max_minutes = _parse_max_minutes(d.pop("max_minutes", UNSET))

        retry_schedule_patch = cls(
            first_minutes=first_minutes,
            growth=growth,
            max_minutes=max_minutes,
        )

        return retry_schedule_patch
