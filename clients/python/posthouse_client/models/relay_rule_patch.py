from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.relay_rule_target_type import (
    RelayRuleTargetType,
    check_relay_rule_target_type,
)
from ..models.relay_rule_type import RelayRuleType, check_relay_rule_type
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.relay_host_patch import RelayHostPatch


T = TypeVar("T", bound="RelayRulePatch")


@_attrs_define
class RelayRulePatch:
    """A merge patch (RFC 7396) of RelayRule: absent members do not change, and null sets the default.

    Attributes:
        name (str | Unset): The name for people. It is unique in its list, without regard to case.
        type_ (RelayRuleType | Unset): The address that a relay rule looks at.
        target_type (RelayRuleTargetType | Unset): What the targets of a relay rule are.
        targets (list[str] | Unset): Full addresses, or domains. A domain includes its subdomains only if it is written
            as .example.com.
        relay_host (RelayHostPatch | Unset): A merge patch (RFC 7396) of RelayHost: absent members do not change, and
            null sets the default.
        position (int | None | Unset): Of rules that match equally, the one with the lowest position is used, and then
            the oldest.
        enabled (bool | None | Unset): false means that it has no effect.
    """

    name: str | Unset = UNSET
    type_: RelayRuleType | Unset = UNSET
    target_type: RelayRuleTargetType | Unset = UNSET
    targets: list[str] | Unset = UNSET
    relay_host: RelayHostPatch | Unset = UNSET
    position: int | None | Unset = UNSET
    enabled: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        type_: str | Unset = UNSET
        if not isinstance(self.type_, Unset):
            type_ = self.type_

        target_type: str | Unset = UNSET
        if not isinstance(self.target_type, Unset):
            target_type = self.target_type

        targets: list[str] | Unset = UNSET
        if not isinstance(self.targets, Unset):
            targets = self.targets

        relay_host: dict[str, Any] | Unset = UNSET
        if not isinstance(self.relay_host, Unset):
            relay_host = self.relay_host.to_dict()

        position: int | None | Unset
        if isinstance(self.position, Unset):
            position = UNSET
        else:
            position = self.position

        enabled: bool | None | Unset
        if isinstance(self.enabled, Unset):
            enabled = UNSET
        else:
            enabled = self.enabled

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if name is not UNSET:
            field_dict["name"] = name
        if type_ is not UNSET:
            field_dict["type"] = type_
        if target_type is not UNSET:
            field_dict["target_type"] = target_type
        if targets is not UNSET:
            field_dict["targets"] = targets
        if relay_host is not UNSET:
            field_dict["relay_host"] = relay_host
        if position is not UNSET:
            field_dict["position"] = position
        if enabled is not UNSET:
            field_dict["enabled"] = enabled

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.relay_host_patch import RelayHostPatch  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name", UNSET)

        _type_ = d.pop("type", UNSET)
        type_: RelayRuleType | Unset
        if isinstance(_type_, Unset):
            type_ = UNSET
        else:
            type_ = check_relay_rule_type(_type_)

        _target_type = d.pop("target_type", UNSET)
        target_type: RelayRuleTargetType | Unset
        if isinstance(_target_type, Unset):
            target_type = UNSET
        else:
            target_type = check_relay_rule_target_type(_target_type)

        targets = cast(list[str], d.pop("targets", UNSET))

        _relay_host = d.pop("relay_host", UNSET)
        relay_host: RelayHostPatch | Unset
        if isinstance(_relay_host, Unset):
            relay_host = UNSET
        else:
            relay_host = RelayHostPatch.from_dict(_relay_host)

        def _parse_position(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        position = _parse_position(d.pop("position", UNSET))

        def _parse_enabled(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        enabled = _parse_enabled(d.pop("enabled", UNSET))

        relay_rule_patch = cls(
            name=name,
            type_=type_,
            target_type=target_type,
            targets=targets,
            relay_host=relay_host,
            position=position,
            enabled=enabled,
        )

        return relay_rule_patch
