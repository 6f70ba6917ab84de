from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.relay_domain_recipients import (
    RelayDomainRecipients,
    check_relay_domain_recipients,
)
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.mailbox_server_patch import MailboxServerPatch


T = TypeVar("T", bound="RelayDomainPatch")


@_attrs_define
class RelayDomainPatch:
    """A merge patch (RFC 7396) of RelayDomain: absent members do not change, and null sets the default.

    Attributes:
        name (None | str | Unset): A description for people.
        domain (str | Unset): A mail domain in any script. It is stored and shown as A-labels in lower case, without a
            final dot.
        recipients (None | RelayDomainRecipients | Unset): Which addresses exist. any: all. list: those of
            /v1/recipients. verify: those that the domain's server accepts, which is asked.
        next_hop (MailboxServerPatch | None | Unset): The server that accepts the domain's mail. null means that the MX
            of the domain accepts it.
        enabled (bool | None | Unset): false means that it has no effect.
    """

    name: None | str | Unset = UNSET
    domain: str | Unset = UNSET
    recipients: None | RelayDomainRecipients | Unset = UNSET
    next_hop: MailboxServerPatch | None | Unset = UNSET
    enabled: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.mailbox_server_patch import MailboxServerPatch  # noqa: PLC0415

        name: None | str | Unset
        if isinstance(self.name, Unset):
            name = UNSET
        else:
            name = self.name

        domain = self.domain

        recipients: None | str | Unset
        if isinstance(self.recipients, Unset):
            recipients = UNSET
        elif isinstance(self.recipients, str):
            recipients = self.recipients
        else:
            recipients = self.recipients

        next_hop: dict[str, Any] | None | Unset
        if isinstance(self.next_hop, Unset):
            next_hop = UNSET
        elif isinstance(self.next_hop, MailboxServerPatch):
            next_hop = self.next_hop.to_dict()
        else:
            next_hop = self.next_hop

        enabled: bool | None | Unset
        if isinstance(self.enabled, Unset):
            enabled = UNSET
        else:
            enabled = self.enabled

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if name is not UNSET:
            field_dict["name"] = name
        if domain is not UNSET:
            field_dict["domain"] = domain
        if recipients is not UNSET:
            field_dict["recipients"] = recipients
        if next_hop is not UNSET:
            field_dict["next_hop"] = next_hop
        if enabled is not UNSET:
            field_dict["enabled"] = enabled

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.mailbox_server_patch import MailboxServerPatch  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_name(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        name = _parse_name(d.pop("name", UNSET))

        domain = d.pop("domain", UNSET)

        def _parse_recipients(data: object) -> None | RelayDomainRecipients | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                recipients_type_0 = check_relay_domain_recipients(data)

                return recipients_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RelayDomainRecipients | Unset, data)

        recipients = _parse_recipients(d.pop("recipients", UNSET))

        def _parse_next_hop(data: object) -> MailboxServerPatch | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                next_hop_type_0 = MailboxServerPatch.from_dict(data)

                return next_hop_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MailboxServerPatch | None | Unset, data)

        next_hop = _parse_next_hop(d.pop("next_hop", UNSET))

        def _parse_enabled(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        enabled = _parse_enabled(d.pop("enabled", UNSET))

        relay_domain_patch = cls(
            name=name,
            domain=domain,
            recipients=recipients,
            next_hop=next_hop,
            enabled=enabled,
        )

        return relay_domain_patch
