from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.mode import Mode, check_mode
from ..models.scan_failure_action import ScanFailureAction, check_scan_failure_action
from ..types import UNSET, Unset

T = TypeVar("T", bound="Spam")


@_attrs_define
class Spam:
    """The spam check of rspamd.

    Attributes:
        mode (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing is refused.
            enforce: it refuses.
        rspamd (str | Unset): The address of rspamd's normal worker: http or https, host and port. /checkv2 is added.
            Default: 'http://127.0.0.1:11333'.
        password (None | str | Unset): The password for rspamd, if it needs one. Write-only, encrypted at rest. If a PUT
            or PATCH leaves it out, it is kept, except when the address of rspamd changes. Then it must be given again.
        on_error (ScanFailureAction | Unset): The action when the scanner gives no verdict.
        timeout_s (int | Unset): The longest wait for rspamd, in seconds. Default: 10.
        check_outgoing (bool | Unset): Whether mail of logged-in clients is checked too. Default: False.
    """

    mode: Mode | Unset = UNSET
    rspamd: str | Unset = "http://127.0.0.1:11333"
    password: None | str | Unset = UNSET
    on_error: ScanFailureAction | Unset = UNSET
    timeout_s: int | Unset = 10
    check_outgoing: bool | Unset = False
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        mode: str | Unset = UNSET
        if not isinstance(self.mode, Unset):
            mode = self.mode

        rspamd = self.rspamd

        password: None | str | Unset
        if isinstance(self.password, Unset):
            password = UNSET
        else:
            password = self.password

        on_error: str | Unset = UNSET
        if not isinstance(self.on_error, Unset):
            on_error = self.on_error

        timeout_s = self.timeout_s

        check_outgoing = self.check_outgoing

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if mode is not UNSET:
            field_dict["mode"] = mode
        if rspamd is not UNSET:
            field_dict["rspamd"] = rspamd
        if password is not UNSET:
            field_dict["password"] = password
        if on_error is not UNSET:
            field_dict["on_error"] = on_error
        if timeout_s is not UNSET:
            field_dict["timeout_s"] = timeout_s
        if check_outgoing is not UNSET:
            field_dict["check_outgoing"] = check_outgoing

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

        rspamd = d.pop("rspamd", UNSET)

        def _parse_password(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        password = _parse_password(d.pop("password", UNSET))

        _on_error = d.pop("on_error", UNSET)
        on_error: ScanFailureAction | Unset
        if isinstance(_on_error, Unset):
            on_error = UNSET
        else:
            on_error = check_scan_failure_action(_on_error)

        timeout_s = d.pop("timeout_s", UNSET)

        check_outgoing = d.pop("check_outgoing", UNSET)

        spam = cls(
            mode=mode,
            rspamd=rspamd,
            password=password,
            on_error=on_error,
            timeout_s=timeout_s,
            check_outgoing=check_outgoing,
        )

        spam.additional_properties = d
        return spam

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
