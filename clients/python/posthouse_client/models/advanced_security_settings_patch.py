from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode, check_mode
from ..types import UNSET, Unset

T = TypeVar("T", bound="AdvancedSecuritySettingsPatch")


@_attrs_define
class AdvancedSecuritySettingsPatch:
    """A merge patch (RFC 7396) of AdvancedSecuritySettings: absent members do not change, and null sets the default.

    Attributes:
        reject_unauthorized_pipelining (Mode | None | Unset): A client that sends before it may gets 554 5.5.0, and the
            connection is closed.
        reject_non_fqdn_helo (Mode | None | Unset): A HELO name that is neither fully qualified nor an address literal
            gets 504 5.5.2.
        reject_unknown_helo (Mode | None | Unset): A HELO name without A, AAAA or MX records gets 450 4.7.1.
        max_unknown_recipients_per_day (int | None | Unset): The number of distinct unknown recipients that an address
            may name before it is blocked until the next day. 0 means no limit.
        timezone (None | str | Unset): The time zone in which a day begins at 00:00, as a name of the IANA database.
        max_junk_commands (int | None | Unset): The number of commands such as NOOP, VRFY and RSET without a delivered
            message, after which the client gets 421. 0 means no limit.
        max_refused_recipients (int | None | Unset): The number of recipients of a session that are permanently refused,
            after which the client gets 421 4.7.0. From the 10th refused recipient on, each answer is delayed more, up to 5
            s. 0 means no limit and no delay.
    """

    reject_unauthorized_pipelining: Mode | None | Unset = UNSET
    reject_non_fqdn_helo: Mode | None | Unset = UNSET
    reject_unknown_helo: Mode | None | Unset = UNSET
    max_unknown_recipients_per_day: int | None | Unset = UNSET
    timezone: None | str | Unset = UNSET
    max_junk_commands: int | None | Unset = UNSET
    max_refused_recipients: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        reject_unauthorized_pipelining: None | str | Unset
        if isinstance(self.reject_unauthorized_pipelining, Unset):
            reject_unauthorized_pipelining = UNSET
        elif isinstance(self.reject_unauthorized_pipelining, str):
            reject_unauthorized_pipelining = self.reject_unauthorized_pipelining
        else:
            reject_unauthorized_pipelining = self.reject_unauthorized_pipelining

        reject_non_fqdn_helo: None | str | Unset
        if isinstance(self.reject_non_fqdn_helo, Unset):
            reject_non_fqdn_helo = UNSET
        elif isinstance(self.reject_non_fqdn_helo, str):
            reject_non_fqdn_helo = self.reject_non_fqdn_helo
        else:
            reject_non_fqdn_helo = self.reject_non_fqdn_helo

        reject_unknown_helo: None | str | Unset
        if isinstance(self.reject_unknown_helo, Unset):
            reject_unknown_helo = UNSET
        elif isinstance(self.reject_unknown_helo, str):
            reject_unknown_helo = self.reject_unknown_helo
        else:
            reject_unknown_helo = self.reject_unknown_helo

        max_unknown_recipients_per_day: int | None | Unset
        if isinstance(self.max_unknown_recipients_per_day, Unset):
            max_unknown_recipients_per_day = UNSET
        else:
            max_unknown_recipients_per_day = self.max_unknown_recipients_per_day

        timezone: None | str | Unset
        if isinstance(self.timezone, Unset):
            timezone = UNSET
        else:
            timezone = self.timezone

        max_junk_commands: int | None | Unset
        if isinstance(self.max_junk_commands, Unset):
            max_junk_commands = UNSET
        else:
            max_junk_commands = self.max_junk_commands

        max_refused_recipients: int | None | Unset
        if isinstance(self.max_refused_recipients, Unset):
            max_refused_recipients = UNSET
        else:
            max_refused_recipients = self.max_refused_recipients

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if reject_unauthorized_pipelining is not UNSET:
            field_dict["reject_unauthorized_pipelining"] = reject_unauthorized_pipelining
        if reject_non_fqdn_helo is not UNSET:
            field_dict["reject_non_fqdn_helo"] = reject_non_fqdn_helo
        if reject_unknown_helo is not UNSET:
            field_dict["reject_unknown_helo"] = reject_unknown_helo
        if max_unknown_recipients_per_day is not UNSET:
            field_dict["max_unknown_recipients_per_day"] = max_unknown_recipients_per_day
        if timezone is not UNSET:
            field_dict["timezone"] = timezone
        if max_junk_commands is not UNSET:
            field_dict["max_junk_commands"] = max_junk_commands
        if max_refused_recipients is not UNSET:
            field_dict["max_refused_recipients"] = max_refused_recipients

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_reject_unauthorized_pipelining(data: object) -> Mode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                reject_unauthorized_pipelining_type_0 = check_mode(data)

                return reject_unauthorized_pipelining_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Mode | None | Unset, data)

        reject_unauthorized_pipelining = _parse_reject_unauthorized_pipelining(
            d.pop("reject_unauthorized_pipelining", UNSET)
        )

        def _parse_reject_non_fqdn_helo(data: object) -> Mode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                reject_non_fqdn_helo_type_0 = check_mode(data)

                return reject_non_fqdn_helo_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Mode | None | Unset, data)

        reject_non_fqdn_helo = _parse_reject_non_fqdn_helo(d.pop("reject_non_fqdn_helo", UNSET))

        def _parse_reject_unknown_helo(data: object) -> Mode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                reject_unknown_helo_type_0 = check_mode(data)

                return reject_unknown_helo_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Mode | None | Unset, data)

        reject_unknown_helo = _parse_reject_unknown_helo(d.pop("reject_unknown_helo", UNSET))

        def _parse_max_unknown_recipients_per_day(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_unknown_recipients_per_day = _parse_max_unknown_recipients_per_day(
            d.pop("max_unknown_recipients_per_day", UNSET)
        )

        def _parse_timezone(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        timezone = _parse_timezone(d.pop("timezone", UNSET))

        def _parse_max_junk_commands(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_junk_commands = _parse_max_junk_commands(d.pop("max_junk_commands", UNSET))

        def _parse_max_refused_recipients(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_refused_recipients = _parse_max_refused_recipients(d.pop("max_refused_recipients", UNSET))

        advanced_security_settings_patch = cls(
            reject_unauthorized_pipelining=reject_unauthorized_pipelining,
            reject_non_fqdn_helo=reject_non_fqdn_helo,
            reject_unknown_helo=reject_unknown_helo,
            max_unknown_recipients_per_day=max_unknown_recipients_per_day,
            timezone=timezone,
            max_junk_commands=max_junk_commands,
            max_refused_recipients=max_refused_recipients,
        )

        return advanced_security_settings_patch
