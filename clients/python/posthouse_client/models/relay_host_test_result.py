from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.relay_host_test_step import RelayHostTestStep


T = TypeVar("T", bound="RelayHostTestResult")


@_attrs_define
class RelayHostTestResult:
    """All steps of the test. The relay host can be used when all succeeded.

    Attributes:
        ok (bool): Whether all steps succeeded.
        steps (list[RelayHostTestStep]): Every step, in order.
    """

    ok: bool
    steps: list[RelayHostTestStep]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        ok = self.ok

        steps = []
        for steps_item_data in self.steps:
            steps_item = steps_item_data.to_dict()
            steps.append(steps_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "ok": ok,
                "steps": steps,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.relay_host_test_step import RelayHostTestStep  # noqa: PLC0415

        d = dict(src_dict)
        ok = d.pop("ok")

        steps = []
        _steps = d.pop("steps")
        for steps_item_data in _steps:
            steps_item = RelayHostTestStep.from_dict(steps_item_data)

            steps.append(steps_item)

        relay_host_test_result = cls(
            ok=ok,
            steps=steps,
        )

        relay_host_test_result.additional_properties = d
        return relay_host_test_result

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
