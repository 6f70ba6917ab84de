from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.recipients_over_limit import (
    RecipientsOverLimit,
    check_recipients_over_limit,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="Profile")


@_attrs_define
class Profile:
    """The name and the banner of the gateway, and its limits for a message.

    Attributes:
        hostname (str): The fully qualified name of this gateway, in banner, EHLO, Received and delivery reports.
        banner (str | Unset): The text after `220 hostname `, in printable ASCII. Default: 'ESMTP'.
        max_recipients (int | Unset): The most recipients of a message. Default: 1000.
        recipients_over_limit (RecipientsOverLimit | Unset): What happens to recipients over the limit of a message.
        max_hops (int | Unset): The number of Received fields from which on a message counts as a loop. Default: 50.
        max_message_size_mb (int | Unset): The largest message in MB of 1,048,576 octets. 0 means no limit. Default: 25.
    """

    hostname: str
    banner: str | Unset = "ESMTP"
    max_recipients: int | Unset = 1000
    recipients_over_limit: RecipientsOverLimit | Unset = UNSET
    max_hops: int | Unset = 50
    max_message_size_mb: int | Unset = 25
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        hostname = self.hostname

        banner = self.banner

        max_recipients = self.max_recipients

        recipients_over_limit: str | Unset = UNSET
        if not isinstance(self.recipients_over_limit, Unset):
            recipients_over_limit = self.recipients_over_limit

        max_hops = self.max_hops

        max_message_size_mb = self.max_message_size_mb

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "hostname": hostname,
            }
        )
        if banner is not UNSET:
            field_dict["banner"] = banner
        if max_recipients is not UNSET:
            field_dict["max_recipients"] = max_recipients
        if recipients_over_limit is not UNSET:
            field_dict["recipients_over_limit"] = recipients_over_limit
        if max_hops is not UNSET:
            field_dict["max_hops"] = max_hops
        if max_message_size_mb is not UNSET:
            field_dict["max_message_size_mb"] = max_message_size_mb

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        hostname = d.pop("hostname")

        banner = d.pop("banner", UNSET)

        max_recipients = d.pop("max_recipients", UNSET)

        _recipients_over_limit = d.pop("recipients_over_limit", UNSET)
        recipients_over_limit: RecipientsOverLimit | Unset
        if isinstance(_recipients_over_limit, Unset):
            recipients_over_limit = UNSET
        else:
            recipients_over_limit = check_recipients_over_limit(_recipients_over_limit)

        max_hops = d.pop("max_hops", UNSET)

        max_message_size_mb = d.pop("max_message_size_mb", UNSET)

        profile = cls(
            hostname=hostname,
            banner=banner,
            max_recipients=max_recipients,
            recipients_over_limit=recipients_over_limit,
            max_hops=max_hops,
            max_message_size_mb=max_message_size_mb,
        )

        profile.additional_properties = d
        return profile

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
