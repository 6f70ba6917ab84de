from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.mode import Mode, check_mode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning


T = TypeVar("T", bound="AdvancedSecuritySettings")


@_attrs_define
class AdvancedSecuritySettings:
    """Checks of the protocol, checks of HELO names, and protection against address harvesting.

    Attributes:
        reject_unauthorized_pipelining (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and
            nothing is refused. enforce: it refuses.
        reject_non_fqdn_helo (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing is
            refused. enforce: it refuses.
        reject_unknown_helo (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing is
            refused. enforce: it refuses.
        max_unknown_recipients_per_day (int | Unset): The number of distinct unknown recipients that an address may name
            before it is blocked until the next day. 0 means no limit. Default: 0.
        timezone (str | Unset): The time zone in which a day begins at 00:00, as a name of the IANA database. Default:
            'UTC'.
        max_junk_commands (int | Unset): The number of commands such as NOOP, VRFY and RSET without a delivered message,
            after which the client gets 421. 0 means no limit. Default: 100.
        max_refused_recipients (int | Unset): The number of recipients of a session that are permanently refused, after
            which the client gets 421 4.7.0. From the 10th refused recipient on, each answer is delayed more, up to 5 s. 0
            means no limit and no delay. Default: 100.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
    """

    reject_unauthorized_pipelining: Mode | Unset = UNSET
    reject_non_fqdn_helo: Mode | Unset = UNSET
    reject_unknown_helo: Mode | Unset = UNSET
    max_unknown_recipients_per_day: int | Unset = 0
    timezone: str | Unset = "UTC"
    max_junk_commands: int | Unset = 100
    max_refused_recipients: int | Unset = 100
    warnings: list[ConfigurationWarning] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        reject_unauthorized_pipelining: str | Unset = UNSET
        if not isinstance(self.reject_unauthorized_pipelining, Unset):
            reject_unauthorized_pipelining = self.reject_unauthorized_pipelining

        reject_non_fqdn_helo: str | Unset = UNSET
        if not isinstance(self.reject_non_fqdn_helo, Unset):
            reject_non_fqdn_helo = self.reject_non_fqdn_helo

        reject_unknown_helo: str | Unset = UNSET
        if not isinstance(self.reject_unknown_helo, Unset):
            reject_unknown_helo = self.reject_unknown_helo

        max_unknown_recipients_per_day = self.max_unknown_recipients_per_day

        timezone = self.timezone

        max_junk_commands = self.max_junk_commands

        max_refused_recipients = self.max_refused_recipients

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
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
        if warnings is not UNSET:
            field_dict["warnings"] = warnings

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415

        d = dict(src_dict)
        _reject_unauthorized_pipelining = d.pop("reject_unauthorized_pipelining", UNSET)
        reject_unauthorized_pipelining: Mode | Unset
        if isinstance(_reject_unauthorized_pipelining, Unset):
            reject_unauthorized_pipelining = UNSET
        else:
            reject_unauthorized_pipelining = check_mode(_reject_unauthorized_pipelining)

        _reject_non_fqdn_helo = d.pop("reject_non_fqdn_helo", UNSET)
        reject_non_fqdn_helo: Mode | Unset
        if isinstance(_reject_non_fqdn_helo, Unset):
            reject_non_fqdn_helo = UNSET
        else:
            reject_non_fqdn_helo = check_mode(_reject_non_fqdn_helo)

        _reject_unknown_helo = d.pop("reject_unknown_helo", UNSET)
        reject_unknown_helo: Mode | Unset
        if isinstance(_reject_unknown_helo, Unset):
            reject_unknown_helo = UNSET
        else:
            reject_unknown_helo = check_mode(_reject_unknown_helo)

        max_unknown_recipients_per_day = d.pop("max_unknown_recipients_per_day", UNSET)

        timezone = d.pop("timezone", UNSET)

        max_junk_commands = d.pop("max_junk_commands", UNSET)

        max_refused_recipients = d.pop("max_refused_recipients", UNSET)

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        advanced_security_settings = cls(
            reject_unauthorized_pipelining=reject_unauthorized_pipelining,
            reject_non_fqdn_helo=reject_non_fqdn_helo,
            reject_unknown_helo=reject_unknown_helo,
            max_unknown_recipients_per_day=max_unknown_recipients_per_day,
            timezone=timezone,
            max_junk_commands=max_junk_commands,
            max_refused_recipients=max_refused_recipients,
            warnings=warnings,
        )

        advanced_security_settings.additional_properties = d
        return advanced_security_settings

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
