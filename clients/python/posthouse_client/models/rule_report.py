from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.reply import Reply


T = TypeVar("T", bound="RuleReport")


@_attrs_define
class RuleReport:
    """One rule and its result.

    Attributes:
        stage (str): The stage of the session that the rule belongs to.
        reason_id (str): The constant name of the rule.
        rule_id (None | str): The id of the access rule. null when it is not an access rule.
        outcome (str): Its result.
        skipped_by (None | str): The id of the allow rule, or the name of the exemption.
        reply (None | Reply): The reply to the client. null when there is none.
        explanation (str): The result in a sentence.
    """

    stage: str
    reason_id: str
    rule_id: None | str
    outcome: str
    skipped_by: None | str
    reply: None | Reply
    explanation: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.reply import Reply  # noqa: PLC0415

        stage = self.stage

        reason_id = self.reason_id

        rule_id: None | str
        rule_id = self.rule_id

        outcome = self.outcome

        skipped_by: None | str
        skipped_by = self.skipped_by

        reply: dict[str, Any] | None
        if isinstance(self.reply, Reply):
            reply = self.reply.to_dict()
        else:
            reply = self.reply

        explanation = self.explanation

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "stage": stage,
                "reason_id": reason_id,
                "rule_id": rule_id,
                "outcome": outcome,
                "skipped_by": skipped_by,
                "reply": reply,
                "explanation": explanation,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.reply import Reply  # noqa: PLC0415

        d = dict(src_dict)
        stage = d.pop("stage")

        reason_id = d.pop("reason_id")

        def _parse_rule_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        rule_id = _parse_rule_id(d.pop("rule_id"))

        outcome = d.pop("outcome")

        def _parse_skipped_by(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        skipped_by = _parse_skipped_by(d.pop("skipped_by"))

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

        explanation = d.pop("explanation")

        rule_report = cls(
            stage=stage,
            reason_id=reason_id,
            rule_id=rule_id,
            outcome=outcome,
            skipped_by=skipped_by,
            reply=reply,
            explanation=explanation,
        )

        rule_report.additional_properties = d
        return rule_report

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
