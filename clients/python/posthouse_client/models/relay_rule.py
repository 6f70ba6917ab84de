from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.relay_rule_target_type import (
    RelayRuleTargetType,
    check_relay_rule_target_type,
)
from ..models.relay_rule_type import RelayRuleType, check_relay_rule_type
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning
    from ..models.relay_host import RelayHost


T = TypeVar("T", bound="RelayRule")


@_attrs_define
class RelayRule:
    """Mail to a target (recipient) or from a target (sender) goes through this relay host.

    Attributes:
        name (str): The name for people. It is unique in its list, without regard to case.
        type_ (RelayRuleType): The address that a relay rule looks at.
        target_type (RelayRuleTargetType): What the targets of a relay rule are.
        targets (list[str]): Full addresses, or domains. A domain includes its subdomains only if it is written as
            .example.com.
        relay_host (RelayHost): A server that accepts mail for other domains.
        position (int | Unset): Of rules that match equally, the one with the lowest position is used, and then the
            oldest. Default: 0.
        enabled (bool | Unset): false means that it has no effect. Default: True.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
        id (UUID | Unset): Made by the service. The ids sort in the order of creation.
        created_at (datetime.datetime | Unset): When it was made.
        updated_at (datetime.datetime | Unset): When it was last written.
    """

    name: str
    type_: RelayRuleType
    target_type: RelayRuleTargetType
    targets: list[str]
    relay_host: RelayHost
    position: int | Unset = 0
    enabled: bool | Unset = True
    warnings: list[ConfigurationWarning] | Unset = UNSET
    id: UUID | Unset = UNSET
    created_at: datetime.datetime | Unset = UNSET
    updated_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        type_: str = self.type_

        target_type: str = self.target_type

        targets = self.targets

        relay_host = self.relay_host.to_dict()

        position = self.position

        enabled = self.enabled

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
                "name": name,
                "type": type_,
                "target_type": target_type,
                "targets": targets,
                "relay_host": relay_host,
            }
        )
        if position is not UNSET:
            field_dict["position"] = position
        if enabled is not UNSET:
            field_dict["enabled"] = enabled
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
        from ..models.relay_host import RelayHost  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name")

        type_ = check_relay_rule_type(d.pop("type"))

        target_type = check_relay_rule_target_type(d.pop("target_type"))

        targets = cast(list[str], d.pop("targets"))

        relay_host = RelayHost.from_dict(d.pop("relay_host"))

        position = d.pop("position", UNSET)

        enabled = d.pop("enabled", UNSET)

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

        relay_rule = cls(
            name=name,
            type_=type_,
            target_type=target_type,
            targets=targets,
            relay_host=relay_host,
            position=position,
            enabled=enabled,
            warnings=warnings,
            id=id,
            created_at=created_at,
            updated_at=updated_at,
        )

        relay_rule.additional_properties = d
        return relay_rule

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
