from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.recipients_over_limit import (
    RecipientsOverLimit,
    check_recipients_over_limit,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="ProfilePatch")


@_attrs_define
class ProfilePatch:
    """A merge patch (RFC 7396) of Profile: absent members do not change, and null sets the default.

    Attributes:
        hostname (str | Unset): The fully qualified name of this gateway, in banner, EHLO, Received and delivery
            reports.
        banner (None | str | Unset): The text after `220 hostname `, in printable ASCII.
        max_recipients (int | None | Unset): The most recipients of a message.
        recipients_over_limit (None | RecipientsOverLimit | Unset): With reject_message, nobody gets the message:
            recipients over the limit get 550 5.5.3, and DATA gets 554 5.5.3. With defer_excess, recipients over the limit
            get 452 4.5.3, and the others get the message.
        max_hops (int | None | Unset): The number of Received fields from which on a message counts as a loop.
        max_message_size_mb (int | None | Unset): The largest message in MB of 1,048,576 octets. 0 means no limit.
    """

    hostname: str | Unset = UNSET
    banner: None | str | Unset = UNSET
    max_recipients: int | None | Unset = UNSET
    recipients_over_limit: None | RecipientsOverLimit | Unset = UNSET
    max_hops: int | None | Unset = UNSET
    max_message_size_mb: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        hostname = self.hostname

        banner: None | str | Unset
        if isinstance(self.banner, Unset):
            banner = UNSET
        else:
            banner = self.banner

        max_recipients: int | None | Unset
        if isinstance(self.max_recipients, Unset):
            max_recipients = UNSET
        else:
            max_recipients = self.max_recipients

        recipients_over_limit: None | str | Unset
        if isinstance(self.recipients_over_limit, Unset):
            recipients_over_limit = UNSET
        elif isinstance(self.recipients_over_limit, str):
            recipients_over_limit = self.recipients_over_limit
        else:
            recipients_over_limit = self.recipients_over_limit

        max_hops: int | None | Unset
        if isinstance(self.max_hops, Unset):
            max_hops = UNSET
        else:
            max_hops = self.max_hops

        max_message_size_mb: int | None | Unset
        if isinstance(self.max_message_size_mb, Unset):
            max_message_size_mb = UNSET
        else:
            max_message_size_mb = self.max_message_size_mb

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if hostname is not UNSET:
            field_dict["hostname"] = hostname
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
        hostname = d.pop("hostname", UNSET)

        def _parse_banner(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        banner = _parse_banner(d.pop("banner", UNSET))

        def _parse_max_recipients(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_recipients = _parse_max_recipients(d.pop("max_recipients", UNSET))

        def _parse_recipients_over_limit(data: object) -> None | RecipientsOverLimit | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                recipients_over_limit_type_0 = check_recipients_over_limit(data)

                return recipients_over_limit_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RecipientsOverLimit | Unset, data)

        recipients_over_limit = _parse_recipients_over_limit(d.pop("recipients_over_limit", UNSET))

        def _parse_max_hops(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_hops = _parse_max_hops(d.pop("max_hops", UNSET))

        def _parse_max_message_size_mb(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_message_size_mb = _parse_max_message_size_mb(d.pop("max_message_size_mb", UNSET))

        profile_patch = cls(
            hostname=hostname,
            banner=banner,
            max_recipients=max_recipients,
            recipients_over_limit=recipients_over_limit,
            max_hops=max_hops,
            max_message_size_mb=max_message_size_mb,
        )

        return profile_patch
