from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

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
    from ..models.mailbox_patch import MailboxPatch


T = TypeVar("T", bound="LocalDomainPatch")


@_attrs_define
class LocalDomainPatch:
    """A merge patch (RFC 7396) of LocalDomain: absent members do not change, and null sets the default.

    Attributes:
        name (str | Unset): A mail domain in any script. It is stored and shown as A-labels in lower case, without a
            final dot.
        mailbox (MailboxPatch | None | Unset): The mailbox of the domain. null means that its mail is held.
        quarantine_mailbox (MailboxPatch | None | Unset): The mailbox for quarantined mail. null means that it goes to
            mailbox, with a mark.
        recipients (LocalDomainRecipients | None | Unset): Which addresses exist. accounts: those of accounts and
            aliases. list: also those of /v1/recipients. any: all. verify: also those that the mailbox server accepts, which
            is asked.
        catch_all (None | str | Unset): The address that gets the mail for all addresses that do not exist. null means
            that this mail is refused.
        recipient_delimiter (LocalDomainRecipientDelimiter | None | Unset): With +, mail for user+tag@ goes to user@, if
            that exists and user+tag@ does not. The tag stays in the address. null means that addresses have no tags.
    """

    name: str | Unset = UNSET
    mailbox: MailboxPatch | None | Unset = UNSET
    quarantine_mailbox: MailboxPatch | None | Unset = UNSET
    recipients: LocalDomainRecipients | None | Unset = UNSET
    catch_all: None | str | Unset = UNSET
    recipient_delimiter: LocalDomainRecipientDelimiter | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.mailbox_patch import MailboxPatch  # noqa: PLC0415

        name = self.name

        mailbox: dict[str, Any] | None | Unset
        if isinstance(self.mailbox, Unset):
            mailbox = UNSET
        elif isinstance(self.mailbox, MailboxPatch):
            mailbox = self.mailbox.to_dict()
        else:
            mailbox = self.mailbox

        quarantine_mailbox: dict[str, Any] | None | Unset
        if isinstance(self.quarantine_mailbox, Unset):
            quarantine_mailbox = UNSET
        elif isinstance(self.quarantine_mailbox, MailboxPatch):
            quarantine_mailbox = self.quarantine_mailbox.to_dict()
        else:
            quarantine_mailbox = self.quarantine_mailbox

        recipients: None | str | Unset
        if isinstance(self.recipients, Unset):
            recipients = UNSET
        elif isinstance(self.recipients, str):
            recipients = self.recipients
        else:
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

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if name is not UNSET:
            field_dict["name"] = name
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

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.mailbox_patch import MailboxPatch  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name", UNSET)

        def _parse_mailbox(data: object) -> MailboxPatch | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                mailbox_type_0 = MailboxPatch.from_dict(data)

                return mailbox_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MailboxPatch | None | Unset, data)

        mailbox = _parse_mailbox(d.pop("mailbox", UNSET))

        def _parse_quarantine_mailbox(data: object) -> MailboxPatch | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                quarantine_mailbox_type_0 = MailboxPatch.from_dict(data)

                return quarantine_mailbox_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MailboxPatch | None | Unset, data)

        quarantine_mailbox = _parse_quarantine_mailbox(d.pop("quarantine_mailbox", UNSET))

        def _parse_recipients(data: object) -> LocalDomainRecipients | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                recipients_type_0 = check_local_domain_recipients(data)

                return recipients_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(LocalDomainRecipients | None | Unset, data)

        recipients = _parse_recipients(d.pop("recipients", UNSET))

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

        local_domain_patch = cls(
            name=name,
            mailbox=mailbox,
            quarantine_mailbox=quarantine_mailbox,
            recipients=recipients,
            catch_all=catch_all,
            recipient_delimiter=recipient_delimiter,
        )

        return local_domain_patch
