from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode, check_mode
from ..models.refusal_action import RefusalAction, check_refusal_action
from ..models.scan_failure_action import ScanFailureAction, check_scan_failure_action
from ..types import UNSET, Unset

T = TypeVar("T", bound="AntivirusPatch")


@_attrs_define
class AntivirusPatch:
    """A merge patch (RFC 7396) of Antivirus: absent members do not change, and null sets the default.

    Attributes:
        mode (Mode | None | Unset): off: the rule is not checked. shadow: a match is recorded and counted, but never
            refused. enforce: a match is refused.
        clamd (None | str | Unset): host:port, or the absolute path of a socket.
        on_error (None | ScanFailureAction | Unset): The action without a verdict: 451 4.3.0, or accepting the message.
        action (None | RefusalAction | Unset): The action for an infected message.
        timeout_seconds (int | None | Unset): The longest wait for clamd, in seconds.
    """

    mode: Mode | None | Unset = UNSET
    clamd: None | str | Unset = UNSET
    on_error: None | ScanFailureAction | Unset = UNSET
    action: None | RefusalAction | Unset = UNSET
    timeout_seconds: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        mode: None | str | Unset
        if isinstance(self.mode, Unset):
            mode = UNSET
        elif isinstance(self.mode, str):
            mode = self.mode
        else:
            mode = self.mode

        clamd: None | str | Unset
        if isinstance(self.clamd, Unset):
            clamd = UNSET
        else:
            clamd = self.clamd

        on_error: None | str | Unset
        if isinstance(self.on_error, Unset):
            on_error = UNSET
        elif isinstance(self.on_error, str):
            on_error = self.on_error
        else:
            on_error = self.on_error

        action: None | str | Unset
        if isinstance(self.action, Unset):
            action = UNSET
        elif isinstance(self.action, str):
            action = self.action
        else:
            action = self.action

        timeout_seconds: int | None | Unset
        if isinstance(self.timeout_seconds, Unset):
            timeout_seconds = UNSET
        else:
            timeout_seconds = self.timeout_seconds

        field_dict: dict[str, Any] = {}

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

        def _parse_clamd(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        clamd = _parse_clamd(d.pop("clamd", UNSET))

        def _parse_on_error(data: object) -> None | ScanFailureAction | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                on_error_type_0 = check_scan_failure_action(data)

                return on_error_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ScanFailureAction | Unset, data)

        on_error = _parse_on_error(d.pop("on_error", UNSET))

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

        def _parse_timeout_seconds(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        timeout_seconds = _parse_timeout_seconds(d.pop("timeout_seconds", UNSET))

        antivirus_patch = cls(
            mode=mode,
            clamd=clamd,
            on_error=on_error,
            action=action,
            timeout_seconds=timeout_seconds,
        )

        return antivirus_patch
