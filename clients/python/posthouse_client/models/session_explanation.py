from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.lookup_report import LookupReport
    from ..models.reply import Reply
    from ..models.rule_report import RuleReport


T = TypeVar("T", bound="SessionExplanation")


@_attrs_define
class SessionExplanation:
    """Every rule in order, every look-up, and the final reply.

    Attributes:
        rules (list[RuleReport]): Every rule, in order.
        lookups (list[LookupReport]): Every question to the DNS.
        action (str): The final result.
        reply (None | Reply): null: accepted.
        reason_id (None | str): The constant name of the rule that decided. null when none did.
        rule_id (None | str): The id of the access rule that decided.
        delay_seconds (float): The delay of the answer, in seconds.
        snapshot_revision (int): The revision of the configuration that was used.
    """

    rules: list[RuleReport]
    lookups: list[LookupReport]
    action: str
    reply: None | Reply
    reason_id: None | str
    rule_id: None | str
    delay_seconds: float
    snapshot_revision: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.reply import Reply  # noqa: PLC0415

        rules = []
        for rules_item_data in self.rules:
            rules_item = rules_item_data.to_dict()
            rules.append(rules_item)

        lookups = []
        for lookups_item_data in self.lookups:
            lookups_item = lookups_item_data.to_dict()
            lookups.append(lookups_item)

        action = self.action

        reply: dict[str, Any] | None
        if isinstance(self.reply, Reply):
            reply = self.reply.to_dict()
        else:
            reply = self.reply

        reason_id: None | str
        reason_id = self.reason_id

        rule_id: None | str
        rule_id = self.rule_id

        delay_seconds = self.delay_seconds

        snapshot_revision = self.snapshot_revision

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "rules": rules,
                "lookups": lookups,
                "action": action,
                "reply": reply,
                "reason_id": reason_id,
                "rule_id": rule_id,
                "delay_seconds": delay_seconds,
                "snapshot_revision": snapshot_revision,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.lookup_report import LookupReport  # noqa: PLC0415
        from ..models.reply import Reply  # noqa: PLC0415
        from ..models.rule_report import RuleReport  # noqa: PLC0415

        d = dict(src_dict)
        rules = []
        _rules = d.pop("rules")
        for rules_item_data in _rules:
            rules_item = RuleReport.from_dict(rules_item_data)

            rules.append(rules_item)

        lookups = []
        _lookups = d.pop("lookups")
        for lookups_item_data in _lookups:
            lookups_item = LookupReport.from_dict(lookups_item_data)

            lookups.append(lookups_item)

        action = d.pop("action")

        def _parse_reply(data: object) -> None | Reply:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                reply_type_0 = Reply.from_dict(data)

                return reply_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Reply, data)

        reply = _parse_reply(d.pop("reply"))

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

        delay_seconds = d.pop("delay_seconds")

        snapshot_revision = d.pop("snapshot_revision")

        session_explanation = cls(
            rules=rules,
            lookups=lookups,
            action=action,
            reply=reply,
            reason_id=reason_id,
            rule_id=rule_id,
            delay_seconds=delay_seconds,
            snapshot_revision=snapshot_revision,
        )

        session_explanation.additional_properties = d
        return session_explanation

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
