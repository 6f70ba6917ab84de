from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.mode import Mode, check_mode
from ..models.refusal_action import RefusalAction, check_refusal_action
from ..models.scan_failure_action import ScanFailureAction, check_scan_failure_action
from ..types import UNSET, Unset

T = TypeVar("T", bound="Antivirus")


@_attrs_define
class Antivirus:
    """Scanning of whole messages by clamd.

    Attributes:
        mode (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing is refused.
            enforce: it refuses.
        clamd (str | Unset): host:port, or the absolute path of a socket. Default: '127.0.0.1:3310'.
        on_error (ScanFailureAction | Unset): The action when the scanner gives no verdict.
        action (RefusalAction | Unset): reject: the mail is refused. discard: it is accepted and dropped.
        timeout_seconds (int | Unset): The longest wait for clamd, in seconds. Default: 60.
    """

    mode: Mode | Unset = UNSET
    clamd: str | Unset = "127.0.0.1:3310"
    on_error: ScanFailureAction | Unset = UNSET
    action: RefusalAction | Unset = UNSET
    timeout_seconds: int | Unset = 60
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        mode: str | Unset = UNSET
        if not isinstance(self.mode, Unset):
            mode = self.mode

        clamd = self.clamd

        on_error: str | Unset = UNSET
        if not isinstance(self.on_error, Unset):
            on_error = self.on_error

        action: str | Unset = UNSET
        if not isinstance(self.action, Unset):
            action = self.action

        timeout_seconds = self.timeout_seconds

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if mode is not UNSET:
            field_dict["mode"] = mode
        if clamd is not UNSET:
            field_dict["clamd"] = clamd
        if on_error is not UNSET:
            field_dict["on_error"] = on_error
        if action is not UNSET:
            field_dict["action"] = action
        if timeout_seconds is not UNSET:
            field_dict["timeout_seconds"] = timeout_seconds

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        _mode = d.pop("mode", UNSET)
        mode: Mode | Unset
        if isinstance(_mode, Unset):
            mode = UNSET
        else:
            mode = check_mode(_mode)

        clamd = d.pop("clamd", UNSET)

        _on_error = d.pop("on_error", UNSET)
        on_error: ScanFailureAction | Unset
        if isinstance(_on_error, Unset):
            on_error = UNSET
        else:
            on_error = check_scan_failure_action(_on_error)

        _action = d.pop("action", UNSET)
        action: RefusalAction | Unset
        if isinstance(_action, Unset):
            action = UNSET
        else:
            action = check_refusal_action(_action)

        timeout_seconds = d.pop("timeout_seconds", UNSET)

        antivirus = cls(
            mode=mode,
            clamd=clamd,
            on_error=on_error,
            action=action,
            timeout_seconds=timeout_seconds,
        )

        antivirus.additional_properties = d
        return antivirus

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
