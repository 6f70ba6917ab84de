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

T = TypeVar("T", bound="AccessRulePatch")


@_attrs_define
class AccessRulePatch:
    """A merge patch (RFC 7396) of AccessRule: absent members do not change, and null sets the default.

    Attributes:
        name (None | str | Unset): A description for people.
        list_ (AccessList | Unset): The list that an access rule belongs to.
        criterion (AccessCriterion | Unset): The criterion of an access rule.
        value (str | Unset): An address, an IP address, a network (CIDR, or address/netmask, where an IPv4 mask may be
            any bit pattern), or a domain, where .example.com stands for all its subdomains. Patterns are not allowed.
        action (None | RefusalAction | Unset): For block rules only: reject (the default) answers 554 5.7.1, and discard
            accepts the mail and drops it.
        mode (Mode | None | Unset): off: the rule is not checked. shadow: a match is recorded and counted, but never
            refused. enforce: a match is refused.
        expires_at (datetime.datetime | None | Unset): When the rule ends. null means never.
    """

    name: None | str | Unset = UNSET
    list_: AccessList | Unset = UNSET
    criterion: AccessCriterion | Unset = UNSET
    value: str | Unset = UNSET
    action: None | RefusalAction | Unset = UNSET
    mode: Mode | None | Unset = UNSET
    expires_at: datetime.datetime | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        name: None | str | Unset
        if isinstance(self.name, Unset):
            name = UNSET
        else:
            name = self.name

        list_: str | Unset = UNSET
        if not isinstance(self.list_, Unset):
            list_ = self.list_

        criterion: str | Unset = UNSET
        if not isinstance(self.criterion, Unset):
            criterion = self.criterion

        value = self.value

        action: None | str | Unset
        if isinstance(self.action, Unset):
            action = UNSET
        elif isinstance(self.action, str):
            action = self.action
        else:
            action = self.action

        mode: None | str | Unset
        if isinstance(self.mode, Unset):
            mode = UNSET
        elif isinstance(self.mode, str):
            mode = self.mode
        else:
            mode = self.mode

        expires_at: None | str | Unset
        if isinstance(self.expires_at, Unset):
            expires_at = UNSET
        elif isinstance(self.expires_at, datetime.datetime):
            expires_at = self.expires_at.isoformat()
        else:
            expires_at = self.expires_at

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if name is not UNSET:
            field_dict["name"] = name
        if list_ is not UNSET:
            field_dict["list"] = list_
        if criterion is not UNSET:
            field_dict["criterion"] = criterion
        if value is not UNSET:
            field_dict["value"] = value
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

        def _parse_name(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        name = _parse_name(d.pop("name", UNSET))

        _list_ = d.pop("list", UNSET)
        list_: AccessList | Unset
        if isinstance(_list_, Unset):
            list_ = UNSET
        else:
            list_ = check_access_list(_list_)

        _criterion = d.pop("criterion", UNSET)
        criterion: AccessCriterion | Unset
        if isinstance(_criterion, Unset):
            criterion = UNSET
        else:
            criterion = check_access_criterion(_criterion)

        value = d.pop("value", UNSET)

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

        def _parse_mode(data: object) -> Mode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                mode_type_0 = check_mode(data)

                return mode_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Mode | None | Unset, data)

        mode = _parse_mode(d.pop("mode", UNSET))

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

        access_rule_patch = cls(
            name=name,
            list_=list_,
            criterion=criterion,
            value=value,
            action=action,
            mode=mode,
            expires_at=expires_at,
        )

        return access_rule_patch
