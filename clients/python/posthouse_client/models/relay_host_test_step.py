from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="RelayHostTestStep")


@_attrs_define
class RelayHostTestStep:
    """One step of the test.

    Attributes:
        step (str): resolve, connect, connection, greeting, ehlo, starttls, ehlo_tls, auth, mail, reset or quit.
        ok (bool): Whether the step succeeded.
        detail (None | str): The reply, or what was found. It never contains credentials.
        took_us (int): Microseconds.
    """

    step: str
    ok: bool
    detail: None | str
    took_us: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        step = self.step

        ok = self.ok

        detail: None | str
        detail = self.detail

        took_us = self.took_us

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "step": step,
                "ok": ok,
                "detail": detail,
                "took_us": took_us,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        step = d.pop("step")

        ok = d.pop("ok")

        def _parse_detail(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        detail = _parse_detail(d.pop("detail"))

        took_us = d.pop("took_us")

        relay_host_test_step = cls(
            step=step,
            ok=ok,
            detail=detail,
            took_us=took_us,
        )

        relay_host_test_step.additional_properties = d
        return relay_host_test_step

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
