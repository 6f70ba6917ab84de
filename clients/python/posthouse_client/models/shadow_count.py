from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ShadowCount")


@_attrs_define
class ShadowCount:
    """The refusals that one rule in shadow mode would have made.

    Attributes:
        reason_id (str): The name of the rule.
        rule_id (None | str): The id of the access rule. null when it is not an access rule.
        count (int): The number of messages, and of sessions that were refused for another reason.
    """

    reason_id: str
    rule_id: None | str
    count: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        reason_id = self.reason_id

        rule_id: None | str
        rule_id = self.rule_id

        count = self.count

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "reason_id": reason_id,
                "rule_id": rule_id,
                "count": count,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        reason_id = d.pop("reason_id")

        def _parse_rule_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        rule_id = _parse_rule_id(d.pop("rule_id"))

        count = d.pop("count")

        shadow_count = cls(
            reason_id=reason_id,
            rule_id=rule_id,
            count=count,
        )

        shadow_count.additional_properties = d
        return shadow_count

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
