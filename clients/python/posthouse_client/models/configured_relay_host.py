from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define

T = TypeVar("T", bound="ConfiguredRelayHost")


@_attrs_define
class ConfiguredRelayHost:
    """A relay host that is configured.

    Attributes:
        kind (Literal['configured']): The relay host is configured.
        rule_id (str): The id of a relay rule, or `delivery` for the relay host of /settings/delivery.
    """

    kind: Literal["configured"]
    rule_id: str

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        rule_id = self.rule_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kind": kind,
                "rule_id": rule_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        kind = cast(Literal["configured"], d.pop("kind"))
        if kind != "configured":
            raise ValueError(f"kind must match const 'configured', got '{kind}'")

        rule_id = d.pop("rule_id")

        configured_relay_host = cls(
            kind=kind,
            rule_id=rule_id,
        )

        return configured_relay_host
