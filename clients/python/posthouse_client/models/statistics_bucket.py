from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.refused_count import RefusedCount
    from ..models.shadow_count import ShadowCount


T = TypeVar("T", bound="StatisticsBucket")


@_attrs_define
class StatisticsBucket:
    """The counts of one period.

    Attributes:
        starts_at (datetime.datetime): When the period begins.
        accepted (int): The number of messages that were accepted.
        delivered (int): The number of recipients to whom mail was delivered.
        deferred (int): The number of attempts after which a recipient is tried again.
        bounced (int): The number of recipients that failed permanently or expired.
        refused (list[RefusedCount]): The refusals, by reason.
        shadow (list[ShadowCount]): The refusals that rules in shadow mode would have made.
    """

    starts_at: datetime.datetime
    accepted: int
    delivered: int
    deferred: int
    bounced: int
    refused: list[RefusedCount]
    shadow: list[ShadowCount]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        starts_at = self.starts_at.isoformat()

        accepted = self.accepted

        delivered = self.delivered

        deferred = self.deferred

        bounced = self.bounced

        refused = []
        for refused_item_data in self.refused:
            refused_item = refused_item_data.to_dict()
            refused.append(refused_item)

        shadow = []
        for shadow_item_data in self.shadow:
            shadow_item = shadow_item_data.to_dict()
            shadow.append(shadow_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "starts_at": starts_at,
                "accepted": accepted,
                "delivered": delivered,
                "deferred": deferred,
                "bounced": bounced,
                "refused": refused,
                "shadow": shadow,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.refused_count import RefusedCount  # noqa: PLC0415
        from ..models.shadow_count import ShadowCount  # noqa: PLC0415

        d = dict(src_dict)
        starts_at = datetime.datetime.fromisoformat(d.pop("starts_at"))

        accepted = d.pop("accepted")

        delivered = d.pop("delivered")

        deferred = d.pop("deferred")

        bounced = d.pop("bounced")

        refused = []
        _refused = d.pop("refused")
        for refused_item_data in _refused:
            refused_item = RefusedCount.from_dict(refused_item_data)

            refused.append(refused_item)

        shadow = []
        _shadow = d.pop("shadow")
        for shadow_item_data in _shadow:
            shadow_item = ShadowCount.from_dict(shadow_item_data)

            shadow.append(shadow_item)

        statistics_bucket = cls(
            starts_at=starts_at,
            accepted=accepted,
            delivered=delivered,
            deferred=deferred,
            bounced=bounced,
            refused=refused,
            shadow=shadow,
        )

        statistics_bucket.additional_properties = d
        return statistics_bucket

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
