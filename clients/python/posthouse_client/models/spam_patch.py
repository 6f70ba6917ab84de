from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode, check_mode
from ..models.scan_failure_action import ScanFailureAction, check_scan_failure_action
from ..types import UNSET, Unset

T = TypeVar("T", bound="SpamPatch")


@_attrs_define
class SpamPatch:
    """A merge patch (RFC 7396) of Spam: absent members do not change, and null sets the default.

    Attributes:
        mode (Mode | None | Unset): off: the rule is not checked. shadow: a match is recorded and counted, but never
            refused. enforce: a match is refused.
        rspamd (None | str | Unset): The address of rspamd's normal worker: http or https, host and port. /checkv2 is
            added.
        password (None | str | Unset): The password for rspamd, if it needs one. Write-only, encrypted at rest. If a PUT
            or PATCH leaves it out, it is kept, except when the address of rspamd changes. Then it must be given again.
        on_error (None | ScanFailureAction | Unset): The action when rspamd gives no answer: accepting the message, or
            451 4.3.0.
        timeout_s (int | None | Unset): The longest wait for rspamd, in seconds.
        check_outgoing (bool | None | Unset): Whether mail of logged-in clients is checked too.
    """

    mode: Mode | None | Unset = UNSET
    rspamd: None | str | Unset = UNSET
    password: None | str | Unset = UNSET
    on_error: None | ScanFailureAction | Unset = UNSET
    timeout_s: int | None | Unset = UNSET
    check_outgoing: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        mode: None | str | Unset
        if isinstance(self.mode, Unset):
            mode = UNSET
        elif isinstance(self.mode, str):
            mode = self.mode
        else:
            mode = self.mode

        rspamd: None | str | Unset
        if isinstance(self.rspamd, Unset):
            rspamd = UNSET
        else:
            rspamd = self.rspamd

        password: None | str | Unset
        if isinstance(self.password, Unset):
            password = UNSET
        else:
            password = self.password

        on_error: None | str | Unset
        if isinstance(self.on_error, Unset):
            on_error = UNSET
        elif isinstance(self.on_error, str):
            on_error = self.on_error
        else:
            on_error = self.on_error

        timeout_s: int | None | Unset
        if isinstance(self.timeout_s, Unset):
            timeout_s = UNSET
        else:
            timeout_s = self.timeout_s

        check_outgoing: bool | None | Unset
        if isinstance(self.check_outgoing, Unset):
            check_outgoing = UNSET
        else:
            check_outgoing = self.check_outgoing

        field_dict: dict[str, Any] = {}

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

        def _parse_rspamd(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        rspamd = _parse_rspamd(d.pop("rspamd", UNSET))

        def _parse_password(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        password = _parse_password(d.pop("password", UNSET))

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

        def _parse_timeout_s(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        timeout_s = _parse_timeout_s(d.pop("timeout_s", UNSET))

        def _parse_check_outgoing(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        check_outgoing = _parse_check_outgoing(d.pop("check_outgoing", UNSET))

        spam_patch = cls(
            mode=mode,
            rspamd=rspamd,
            password=password,
            on_error=on_error,
            timeout_s=timeout_s,
            check_outgoing=check_outgoing,
        )

        return spam_patch
