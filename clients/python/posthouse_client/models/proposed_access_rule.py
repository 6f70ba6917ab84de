from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.access_criterion import AccessCriterion, check_access_criterion
from ..models.access_list import AccessList, check_access_list
from ..models.mode import Mode, check_mode
from ..models.refusal_action import RefusalAction, check_refusal_action
from ..types import UNSET, Unset

T = TypeVar("T", bound="ProposedAccessRule")


@_attrs_define
class ProposedAccessRule:
    """An access rule that does not exist.

    Attributes:
        list_ (AccessList): The list that an access rule belongs to.
        criterion (AccessCriterion): The criterion of an access rule.
        value (str): The value, as in an access rule.
        name (str | Unset): A description for people. Default: ''.
        action (None | RefusalAction | Unset): For block rules only: reject (the default) answers 554 5.7.1, and discard
            accepts the mail and drops it.
        mode (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing is refused.
            enforce: it refuses.
        expires_at (datetime.datetime | None | Unset): When the rule ends. null means never.
    """

    list_: AccessList
    criterion: AccessCriterion
    value: str
    name: str | Unset = ""
    action: None | RefusalAction | Unset = UNSET
    mode: Mode | Unset = UNSET
    expires_at: datetime.datetime | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        list_: str = self.list_

        criterion: str = self.criterion

        value = self.value

        name = self.name

        action: None | str | Unset
        if isinstance(self.action, Unset):
            action = UNSET
        elif isinstance(self.action, str):
            action = self.action
        else:
            action = self.action

        mode: str | Unset = UNSET
        if not isinstance(self.mode, Unset):
            mode = self.mode

        expires_at: None | str | Unset
        if isinstance(self.expires_at, Unset):
            expires_at = UNSET
        elif isinstance(self.expires_at, datetime.datetime):
            expires_at = self.expires_at.isoformat()
        else:
            expires_at = self.expires_at

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "list": list_,
                "criterion": criterion,
                "value": value,
            }
        )
        if name is not UNSET:
            field_dict["name"] = name
        if action is not UNSET:
            field_dict["action"] = action
        if mode is not UNSET:
            field_dict["mode"] = mode
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        list_ = check_access_list(d.pop("list"))

        criterion = check_access_criterion(d.pop("criterion"))

        value = d.pop("value")

        name = d.pop("name", UNSET)

        def _parse_action(data: object) -> None | RefusalAction | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                action_type_0 = check_refusal_action(data)

                return action_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RefusalAction | Unset, data)

        action = _parse_action(d.pop("action", UNSET))

        _mode = d.pop("mode", UNSET)
        mode: Mode | Unset
        if isinstance(_mode, Unset):
            mode = UNSET
        else:
            mode = check_mode(_mode)

        def _parse_expires_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                expires_at_type_0 = datetime.datetime.fromisoformat(data)

                return expires_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        expires_at = _parse_expires_at(d.pop("expires_at", UNSET))

        proposed_access_rule = cls(
            list_=list_,
            criterion=criterion,
            value=value,
            name=name,
            action=action,
            mode=mode,
            expires_at=expires_at,
        )

        return proposed_access_rule
