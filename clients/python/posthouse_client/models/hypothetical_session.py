from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.hypothetical_session_assumed import HypotheticalSessionAssumed
    from ..models.proposed_access_rule import ProposedAccessRule
    from ..models.session_facts import SessionFacts


T = TypeVar("T", bound="HypotheticalSession")


@_attrs_define
class HypotheticalSession:
    """A session that is described by facts. It need not exist.

    Attributes:
        kind (Literal['hypothetical']): The session is described by facts.
        facts (SessionFacts): The facts of a session.
        assumed (HypotheticalSessionAssumed | Unset): Look-ups whose results are given here, by the name that the report
            uses. They are not made.
        proposed_rule (None | ProposedAccessRule | Unset): An access rule that is tried as if it existed, as the newest
            of all. It is not stored. In the answer its id is `proposed`.
        now (datetime.datetime | None | Unset): The time to assume, in the years 1970 to 9998. null means now.
    """

    kind: Literal["hypothetical"]
    facts: SessionFacts
    assumed: HypotheticalSessionAssumed | Unset = UNSET
    proposed_rule: None | ProposedAccessRule | Unset = UNSET
    now: datetime.datetime | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.proposed_access_rule import ProposedAccessRule  # noqa: PLC0415

        kind = self.kind

        facts = self.facts.to_dict()

        assumed: dict[str, Any] | Unset = UNSET
        if not isinstance(self.assumed, Unset):
            assumed = self.assumed.to_dict()

        proposed_rule: dict[str, Any] | None | Unset
        if isinstance(self.proposed_rule, Unset):
            proposed_rule = UNSET
        elif isinstance(self.proposed_rule, ProposedAccessRule):
            proposed_rule = self.proposed_rule.to_dict()
        else:
            proposed_rule = self.proposed_rule

        now: None | str | Unset
        if isinstance(self.now, Unset):
            now = UNSET
        elif isinstance(self.now, datetime.datetime):
            now = self.now.isoformat()
        else:
            now = self.now

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kind": kind,
                "facts": facts,
            }
        )
        if assumed is not UNSET:
            field_dict["assumed"] = assumed
        if proposed_rule is not UNSET:
            field_dict["proposed_rule"] = proposed_rule
        if now is not UNSET:
            field_dict["now"] = now

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.hypothetical_session_assumed import HypotheticalSessionAssumed  # noqa: PLC0415
        from ..models.proposed_access_rule import ProposedAccessRule  # noqa: PLC0415
        from ..models.session_facts import SessionFacts  # noqa: PLC0415

        d = dict(src_dict)
        kind = cast(Literal["hypothetical"], d.pop("kind"))
        if kind != "hypothetical":
            raise ValueError(f"kind must match const 'hypothetical', got '{kind}'")

        facts = SessionFacts.from_dict(d.pop("facts"))

        _assumed = d.pop("assumed", UNSET)
        assumed: HypotheticalSessionAssumed | Unset
        if isinstance(_assumed, Unset):
            assumed = UNSET
        else:
            assumed = HypotheticalSessionAssumed.from_dict(_assumed)

        def _parse_proposed_rule(data: object) -> None | ProposedAccessRule | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                proposed_rule_type_0 = ProposedAccessRule.from_dict(data)

                return proposed_rule_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ProposedAccessRule | Unset, data)

        proposed_rule = _parse_proposed_rule(d.pop("proposed_rule", UNSET))

        def _parse_now(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                now_type_0 = datetime.datetime.fromisoformat(data)

                return now_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        now = _parse_now(d.pop("now", UNSET))

        hypothetical_session = cls(
            kind=kind,
            facts=facts,
            assumed=assumed,
            proposed_rule=proposed_rule,
            now=now,
        )

        return hypothetical_session
