from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="RouteRule")


@_attrs_define
class RouteRule:
    """A rule that was considered.

    Attributes:
        kind (str): The kind of the rule.
        rule_id (None | str): The id of the rule. null when it has none.
        name (None | str): Its name.
        won (bool): Whether it decides.
        reason (str): Why.
    """

    kind: str
    rule_id: None | str
    name: None | str
    won: bool
    reason: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        rule_id: None | str
        rule_id = self.rule_id

        name: None | str
        name = self.name

        won = self.won

        reason = self.reason

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "rule_id": rule_id,
                "name": name,
                "won": won,
                "reason": reason,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        kind = d.pop("kind")

        def _parse_rule_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        rule_id = _parse_rule_id(d.pop("rule_id"))

        def _parse_name(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        name = _parse_name(d.pop("name"))

        won = d.pop("won")

        reason = d.pop("reason")

        route_rule = cls(
            kind=kind,
            rule_id=rule_id,
            name=name,
            won=won,
            reason=reason,
        )

        route_rule.additional_properties = d
        return route_rule

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
