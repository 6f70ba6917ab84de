from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.shadow_result import ShadowResult


T = TypeVar("T", bound="SessionVerdict")


@_attrs_define
class SessionVerdict:
    """A verdict in the session of a message. Verdicts to which no rule contributed are not recorded.

    Attributes:
        stage (str): The stage of the session.
        action (str): One of accept, reject, discard.
        code (int | None): The code of the reply. null when nothing was rejected.
        enhanced_code (None | str): The code of RFC 3463. null when nothing was rejected.
        reason_id (None | str): The name of the rule that decided. null when none did.
        rule_id (None | str): The id of the access rule or setting that decided. null when none did.
        shadow (list[ShadowResult]): Refusals that rules in shadow mode would have made.
    """

    stage: str
    action: str
    code: int | None
    enhanced_code: None | str
    reason_id: None | str
    rule_id: None | str
    shadow: list[ShadowResult]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        stage = self.stage

        action = self.action

        code: int | None
        code = self.code

        enhanced_code: None | str
        enhanced_code = self.enhanced_code

        reason_id: None | str
        reason_id = self.reason_id

        rule_id: None | str
        rule_id = self.rule_id

        shadow = []
        for shadow_item_data in self.shadow:
            shadow_item = shadow_item_data.to_dict()
            shadow.append(shadow_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "stage": stage,
                "action": action,
                "code": code,
                "enhanced_code": enhanced_code,
                "reason_id": reason_id,
                "rule_id": rule_id,
                "shadow": shadow,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.shadow_result import ShadowResult  # noqa: PLC0415

        d = dict(src_dict)
        stage = d.pop("stage")

        action = d.pop("action")

        def _parse_code(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        code = _parse_code(d.pop("code"))

        def _parse_enhanced_code(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        enhanced_code = _parse_enhanced_code(d.pop("enhanced_code"))

        def _parse_reason_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        reason_id = _parse_reason_id(d.pop("reason_id"))

        def _parse_rule_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        rule_id = _parse_rule_id(d.pop("rule_id"))

        shadow = []
        _shadow = d.pop("shadow")
        for shadow_item_data in _shadow:
            shadow_item = ShadowResult.from_dict(shadow_item_data)

            shadow.append(shadow_item)

        session_verdict = cls(
            stage=stage,
            action=action,
            code=code,
            enhanced_code=enhanced_code,
            reason_id=reason_id,
            rule_id=rule_id,
            shadow=shadow,
        )

        session_verdict.additional_properties = d
        return session_verdict

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
