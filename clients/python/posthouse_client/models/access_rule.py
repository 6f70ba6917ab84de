from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.access_criterion import AccessCriterion, check_access_criterion
from ..models.access_list import AccessList, check_access_list
from ..models.mode import Mode, check_mode
from ..models.refusal_action import RefusalAction, check_refusal_action
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning


T = TypeVar("T", bound="AccessRule")


@_attrs_define
class AccessRule:
    """An entry of the block list or allow list. Values are compared exactly. An allow rule never permits relaying.

    Attributes:
        list_ (AccessList): The list that an access rule belongs to.
        criterion (AccessCriterion): The criterion of an access rule.
        value (str): An address, an IP address, a network (CIDR, or address/netmask, where an IPv4 mask may be any bit
            pattern), or a domain, where .example.com stands for all its subdomains. Patterns are not allowed.
        canonical (str | Unset): The value in the form in which it is compared. A network has no host bits.
        hits (int | Unset): The number of sessions and messages that it matched.
        last_hit_at (datetime.datetime | None | Unset): The time of its last match. null means that there was none.
        name (str | Unset): A description for people. Default: ''.
        action (None | RefusalAction | Unset): For block rules only: reject (the default) answers 554 5.7.1, and discard
            accepts the mail and drops it.
        mode (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing is refused.
            enforce: it refuses.
        expires_at (datetime.datetime | None | Unset): When the rule ends. null means never.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
        id (UUID | Unset): Made by the service. The ids sort in the order of creation.
        created_at (datetime.datetime | Unset): When it was made.
        updated_at (datetime.datetime | Unset): When it was last written.
    """

    list_: AccessList
    criterion: AccessCriterion
    value: str
    canonical: str | Unset = UNSET
    hits: int | Unset = UNSET
    last_hit_at: datetime.datetime | None | Unset = UNSET
    name: str | Unset = ""
    action: None | RefusalAction | Unset = UNSET
    mode: Mode | Unset = UNSET
    expires_at: datetime.datetime | None | Unset = UNSET
    warnings: list[ConfigurationWarning] | Unset = UNSET
    id: UUID | Unset = UNSET
    created_at: datetime.datetime | Unset = UNSET
    updated_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        list_: str = self.list_

        criterion: str = self.criterion

        value = self.value

        canonical = self.canonical

        hits = self.hits

        last_hit_at: None | str | Unset
        if isinstance(self.last_hit_at, Unset):
            last_hit_at = UNSET
        elif isinstance(self.last_hit_at, datetime.datetime):
            last_hit_at = self.last_hit_at.isoformat()
        else:
            last_hit_at = self.last_hit_at

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

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        id: str | Unset = UNSET
        if not isinstance(self.id, Unset):
            id = str(self.id)

        created_at: str | Unset = UNSET
        if not isinstance(self.created_at, Unset):
            created_at = self.created_at.isoformat()

        updated_at: str | Unset = UNSET
        if not isinstance(self.updated_at, Unset):
            updated_at = self.updated_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "list": list_,
                "criterion": criterion,
                "value": value,
            }
        )
        if canonical is not UNSET:
            field_dict["canonical"] = canonical
        if hits is not UNSET:
            field_dict["hits"] = hits
        if last_hit_at is not UNSET:
            field_dict["last_hit_at"] = last_hit_at
        if name is not UNSET:
            field_dict["name"] = name
        if action is not UNSET:
            field_dict["action"] = action
        if mode is not UNSET:
            field_dict["mode"] = mode
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at
        if warnings is not UNSET:
            field_dict["warnings"] = warnings
        if id is not UNSET:
            field_dict["id"] = id
        if created_at is not UNSET:
            field_dict["created_at"] = created_at
        if updated_at is not UNSET:
            field_dict["updated_at"] = updated_at

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415

        d = dict(src_dict)
        list_ = check_access_list(d.pop("list"))

        criterion = check_access_criterion(d.pop("criterion"))

        value = d.pop("value")

        canonical = d.pop("canonical", UNSET)

        hits = d.pop("hits", UNSET)

        def _parse_last_hit_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                last_hit_at_type_0 = datetime.datetime.fromisoformat(data)

                return last_hit_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        last_hit_at = _parse_last_hit_at(d.pop("last_hit_at", UNSET))

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

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        _id = d.pop("id", UNSET)
        id: UUID | Unset
        if isinstance(_id, Unset):
            id = UNSET
        else:
            id = UUID(_id)

        _created_at = d.pop("created_at", UNSET)
        created_at: datetime.datetime | Unset
        if isinstance(_created_at, Unset):
            created_at = UNSET
        else:
            created_at = datetime.datetime.fromisoformat(_created_at)

        _updated_at = d.pop("updated_at", UNSET)
        updated_at: datetime.datetime | Unset
        if isinstance(_updated_at, Unset):
            updated_at = UNSET
        else:
            updated_at = datetime.datetime.fromisoformat(_updated_at)

        access_rule = cls(
            list_=list_,
            criterion=criterion,
            value=value,
            canonical=canonical,
            hits=hits,
            last_hit_at=last_hit_at,
            name=name,
            action=action,
            mode=mode,
            expires_at=expires_at,
            warnings=warnings,
            id=id,
            created_at=created_at,
            updated_at=updated_at,
        )

        access_rule.additional_properties = d
        return access_rule

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
