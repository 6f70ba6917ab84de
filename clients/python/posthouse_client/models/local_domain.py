from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.local_domain_recipient_delimiter import (
    LocalDomainRecipientDelimiter,
    check_local_domain_recipient_delimiter,
)
from ..models.local_domain_recipients import (
    LocalDomainRecipients,
    check_local_domain_recipients,
)
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning
    from ..models.lmtp_mailbox import LmtpMailbox
    from ..models.maildir_mailbox import MaildirMailbox
    from ..models.smtp_mailbox import SmtpMailbox


T = TypeVar("T", bound="LocalDomain")


@_attrs_define
class LocalDomain:
    """A domain whose mail is delivered to a server or a directory.

    Attributes:
        name (str): A mail domain in any script. It is stored and shown as A-labels in lower case, without a final dot.
        mailbox (LmtpMailbox | MaildirMailbox | None | SmtpMailbox | Unset): The mailbox of the domain. null means that
            its mail is held.
        quarantine_mailbox (LmtpMailbox | MaildirMailbox | None | SmtpMailbox | Unset): The mailbox for quarantined
            mail. null means that it goes to mailbox, with a mark.
        recipients (LocalDomainRecipients | Unset): A value of recipients of LocalDomainPatch.
        catch_all (None | str | Unset): The address that gets the mail for all addresses that do not exist. null means
            that this mail is refused.
        recipient_delimiter (LocalDomainRecipientDelimiter | None | Unset): With +, mail for user+tag@ goes to user@, if
            that exists and user+tag@ does not. The tag stays in the address. null means that addresses have no tags.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
        id (UUID | Unset): Made by the service. The ids sort in the order of creation.
        created_at (datetime.datetime | Unset): When it was made.
        updated_at (datetime.datetime | Unset): When it was last written.
    """

    name: str
    mailbox: LmtpMailbox | MaildirMailbox | None | SmtpMailbox | Unset = UNSET
    quarantine_mailbox: LmtpMailbox | MaildirMailbox | None | SmtpMailbox | Unset = UNSET
    recipients: LocalDomainRecipients | Unset = UNSET
    catch_all: None | str | Unset = UNSET
    recipient_delimiter: LocalDomainRecipientDelimiter | None | Unset = UNSET
    warnings: list[ConfigurationWarning] | Unset = UNSET
    id: UUID | Unset = UNSET
    created_at: datetime.datetime | Unset = UNSET
    updated_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.lmtp_mailbox import LmtpMailbox  # noqa: PLC0415
        from ..models.maildir_mailbox import MaildirMailbox  # noqa: PLC0415
        from ..models.smtp_mailbox import SmtpMailbox  # noqa: PLC0415

        name = self.name

        mailbox: dict[str, Any] | None | Unset
        if isinstance(self.mailbox, Unset):
            mailbox = UNSET
        elif isinstance(self.mailbox, SmtpMailbox):
            mailbox = self.mailbox.to_dict()
        elif isinstance(self.mailbox, LmtpMailbox):
            mailbox = self.mailbox.to_dict()
        elif isinstance(self.mailbox, MaildirMailbox):
            mailbox = self.mailbox.to_dict()
        else:
            mailbox = self.mailbox

        quarantine_mailbox: dict[str, Any] | None | Unset
        if isinstance(self.quarantine_mailbox, Unset):
            quarantine_mailbox = UNSET
        elif isinstance(self.quarantine_mailbox, SmtpMailbox):
            quarantine_mailbox = self.quarantine_mailbox.to_dict()
        elif isinstance(self.quarantine_mailbox, LmtpMailbox):
            quarantine_mailbox = self.quarantine_mailbox.to_dict()
        elif isinstance(self.quarantine_mailbox, MaildirMailbox):
            quarantine_mailbox = self.quarantine_mailbox.to_dict()
        else:
            quarantine_mailbox = self.quarantine_mailbox

        recipients: str | Unset = UNSET
        if not isinstance(self.recipients, Unset):
            recipients = self.recipients

        catch_all: None | str | Unset
        if isinstance(self.catch_all, Unset):
            catch_all = UNSET
        else:
            catch_all = self.catch_all

        recipient_delimiter: None | str | Unset
        if isinstance(self.recipient_delimiter, Unset):
            recipient_delimiter = UNSET
        elif isinstance(self.recipient_delimiter, str):
            recipient_delimiter = self.recipient_delimiter
        else:
            recipient_delimiter = self.recipient_delimiter

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
                "name": name,
            }
        )
        if mailbox is not UNSET:
            field_dict["mailbox"] = mailbox
        if quarantine_mailbox is not UNSET:
            field_dict["quarantine_mailbox"] = quarantine_mailbox
        if recipients is not UNSET:
            field_dict["recipients"] = recipients
        if catch_all is not UNSET:
            field_dict["catch_all"] = catch_all
        if recipient_delimiter is not UNSET:
            field_dict["recipient_delimiter"] = recipient_delimiter
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
        from ..models.maildir_mailbox import MaildirMailbox  # noqa: PLC0415
        from ..models.smtp_mailbox import SmtpMailbox  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name")

        def _parse_mailbox(data: object) -> LmtpMailbox | MaildirMailbox | None | SmtpMailbox | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_mailbox_type_0 = SmtpMailbox.from_dict(data)

                return componentsschemas_mailbox_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_mailbox_type_1 = LmtpMailbox.from_dict(data)

                return componentsschemas_mailbox_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_mailbox_type_2 = MaildirMailbox.from_dict(data)

                return componentsschemas_mailbox_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(LmtpMailbox | MaildirMailbox | None | SmtpMailbox | Unset, data)

        mailbox = _parse_mailbox(d.pop("mailbox", UNSET))

        def _parse_quarantine_mailbox(data: object) -> LmtpMailbox | MaildirMailbox | None | SmtpMailbox | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_mailbox_type_0 = SmtpMailbox.from_dict(data)

                return componentsschemas_mailbox_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_mailbox_type_1 = LmtpMailbox.from_dict(data)

                return componentsschemas_mailbox_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_mailbox_type_2 = MaildirMailbox.from_dict(data)

                return componentsschemas_mailbox_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(LmtpMailbox | MaildirMailbox | None | SmtpMailbox | Unset, data)

        quarantine_mailbox = _parse_quarantine_mailbox(d.pop("quarantine_mailbox", UNSET))

        _recipients = d.pop("recipients", UNSET)
        recipients: LocalDomainRecipients | Unset
        if isinstance(_recipients, Unset):
            recipients = UNSET
        else:
            recipients = check_local_domain_recipients(_recipients)

        def _parse_catch_all(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        catch_all = _parse_catch_all(d.pop("catch_all", UNSET))

        def _parse_recipient_delimiter(data: object) -> LocalDomainRecipientDelimiter | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                recipient_delimiter_type_0 = check_local_domain_recipient_delimiter(data)

                return recipient_delimiter_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(LocalDomainRecipientDelimiter | None | Unset, data)

        recipient_delimiter = _parse_recipient_delimiter(d.pop("recipient_delimiter", UNSET))

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

        local_domain = cls(
            name=name,
            mailbox=mailbox,
            quarantine_mailbox=quarantine_mailbox,
            recipients=recipients,
            catch_all=catch_all,
            recipient_delimiter=recipient_delimiter,
            warnings=warnings,
            id=id,
            created_at=created_at,
            updated_at=updated_at,
        )

        local_domain.additional_properties = d
        return local_domain

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
