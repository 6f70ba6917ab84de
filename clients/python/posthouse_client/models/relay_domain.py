from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.relay_domain_recipients import (
    RelayDomainRecipients,
    check_relay_domain_recipients,
)
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning
    from ..models.lmtp_mailbox import LmtpMailbox
    from ..models.smtp_mailbox import SmtpMailbox


T = TypeVar("T", bound="RelayDomain")


@_attrs_define
class RelayDomain:
    """A domain whose mail is accepted from everybody and sent to the domain's own server.

    Attributes:
        domain (str): A mail domain in any script. It is stored and shown as A-labels in lower case, without a final
            dot.
        name (str | Unset): A description for people. Default: ''.
        recipients (RelayDomainRecipients | Unset): A value of recipients of RelayDomainPatch.
        next_hop (LmtpMailbox | None | SmtpMailbox | Unset): The server that accepts the domain's mail. null means that
            the MX of the domain accepts it.
        enabled (bool | Unset): false means that it has no effect. Default: True.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
        id (UUID | Unset): Made by the service. The ids sort in the order of creation.
        created_at (datetime.datetime | Unset): When it was made.
        updated_at (datetime.datetime | Unset): When it was last written.
    """

    domain: str
    name: str | Unset = ""
    recipients: RelayDomainRecipients | Unset = UNSET
    next_hop: LmtpMailbox | None | SmtpMailbox | Unset = UNSET
    enabled: bool | Unset = True
    warnings: list[ConfigurationWarning] | Unset = UNSET
    id: UUID | Unset = UNSET
    created_at: datetime.datetime | Unset = UNSET
    updated_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.lmtp_mailbox import LmtpMailbox  # noqa: PLC0415
        from ..models.smtp_mailbox import SmtpMailbox  # noqa: PLC0415

        domain = self.domain

        name = self.name

        recipients: str | Unset = UNSET
        if not isinstance(self.recipients, Unset):
            recipients = self.recipients

        next_hop: dict[str, Any] | None | Unset
        if isinstance(self.next_hop, Unset):
            next_hop = UNSET
        elif isinstance(self.next_hop, SmtpMailbox):
            next_hop = self.next_hop.to_dict()
        elif isinstance(self.next_hop, LmtpMailbox):
            next_hop = self.next_hop.to_dict()
        else:
            next_hop = self.next_hop

        enabled = self.enabled

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        id: str | Unset = UNSET
        if not isinstance(self.id, Unset):
            id = str(self.id)

        created_at: str | Unset = UNSET
        if not isinstance(self.created_at, Unset):
            created_at = self.created_at.isoformat()

        updated_at: str | Unset = UNSET
        if not isinstance(self.updated_at, Unset):
            updated_at = self.updated_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "domain": domain,
            }
        )
        if name is not UNSET:
            field_dict["name"] = name
        if recipients is not UNSET:
            field_dict["recipients"] = recipients
        if next_hop is not UNSET:
            field_dict["next_hop"] = next_hop
        if enabled is not UNSET:
            field_dict["enabled"] = enabled
        if warnings is not UNSET:
            field_dict["warnings"] = warnings
        if id is not UNSET:
            field_dict["id"] = id
        if created_at is not UNSET:
            field_dict["created_at"] = created_at
        if updated_at is not UNSET:
            field_dict["updated_at"] = updated_at

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415
        from ..models.lmtp_mailbox import LmtpMailbox  # noqa: PLC0415
        from ..models.smtp_mailbox import SmtpMailbox  # noqa: PLC0415

        d = dict(src_dict)
        domain = d.pop("domain")

        name = d.pop("name", UNSET)

        _recipients = d.pop("recipients", UNSET)
        recipients: RelayDomainRecipients | Unset
        if isinstance(_recipients, Unset):
            recipients = UNSET
        else:
            recipients = check_relay_domain_recipients(_recipients)

        def _parse_next_hop(data: object) -> LmtpMailbox | None | SmtpMailbox | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_mailbox_server_type_0 = SmtpMailbox.from_dict(data)

                return componentsschemas_mailbox_server_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_mailbox_server_type_1 = LmtpMailbox.from_dict(data)

                return componentsschemas_mailbox_server_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(LmtpMailbox | None | SmtpMailbox | Unset, data)

        next_hop = _parse_next_hop(d.pop("next_hop", UNSET))

        enabled = d.pop("enabled", UNSET)

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        _id = d.pop("id", UNSET)
        id: UUID | Unset
        if isinstance(_id, Unset):
            id = UNSET
        else:
            id = UUID(_id)

        _created_at = d.pop("created_at", UNSET)
        created_at: datetime.datetime | Unset
        if isinstance(_created_at, Unset):
            created_at = UNSET
        else:
            created_at = datetime.datetime.fromisoformat(_created_at)

        _updated_at = d.pop("updated_at", UNSET)
        updated_at: datetime.datetime | Unset
        if isinstance(_updated_at, Unset):
            updated_at = UNSET
        else:
            updated_at = datetime.datetime.fromisoformat(_updated_at)

        relay_domain = cls(
            domain=domain,
            name=name,
            recipients=recipients,
            next_hop=next_hop,
            enabled=enabled,
            warnings=warnings,
            id=id,
            created_at=created_at,
            updated_at=updated_at,
        )

        relay_domain.additional_properties = d
        return relay_domain

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
