from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.spam_facts_action import SpamFactsAction, check_spam_facts_action
from ..types import UNSET, Unset

T = TypeVar("T", bound="SpamFacts")


@_attrs_define
class SpamFacts:
    """The answer of rspamd.

    Attributes:
        action (SpamFactsAction): The action that rspamd wants. error means that it gave no answer.
        score (float | Unset): Its score. Default: 0.0.
    """

    action: SpamFactsAction
    score: float | Unset = 0.0

    def to_dict(self) -> dict[str, Any]:
        action: str = self.action

        score = self.score

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "action": action,
            }
        )
        if score is not UNSET:
            field_dict["score"] = score

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        action = check_spam_facts_action(d.pop("action"))

        score = d.pop("score", UNSET)

        spam_facts = cls(
            action=action,
            score=score,
        )

        return spam_facts
