from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.lmtp_mailbox import LmtpMailbox
    from ..models.message_filter import MessageFilter
    from ..models.smtp_mailbox import SmtpMailbox


T = TypeVar("T", bound="MessageSelectionRedirect")


@_attrs_define
class MessageSelectionRedirect:
    """The messages to redirect, and their new target. Exactly one member must be given besides the filter.

    Attributes:
        filter_ (MessageFilter): The conditions for messages. A message must meet all that are given.
        recipient (None | str | Unset): The recipient that replaces those of the message.
        next_hop (LmtpMailbox | None | SmtpMailbox | Unset): The server to which the mail is sent, whatever the
            configuration says, until another redirect. It is used without a login.
        configured_route (bool | Unset): true means that the configuration decides again, in place of an earlier next
            hop. Default: False.
    """

    filter_: MessageFilter
    recipient: None | str | Unset = UNSET
    next_hop: LmtpMailbox | None | SmtpMailbox | Unset = UNSET
    configured_route: bool | Unset = False

    def to_dict(self) -> dict[str, Any]:
        from ..models.lmtp_mailbox import LmtpMailbox  # noqa: PLC0415
        from ..models.smtp_mailbox import SmtpMailbox  # noqa: PLC0415

        filter_ = self.filter_.to_dict()

        recipient: None | str | Unset
        if isinstance(self.recipient, Unset):
            recipient = UNSET
        else:
            recipient = self.recipient

        next_hop: dict[str, Any] | None | Unset
        if isinstance(self.next_hop, Unset):
            next_hop = UNSET
        elif isinstance(self.next_hop, SmtpMailbox):
            next_hop = self.next_hop.to_dict()
        elif isinstance(self.next_hop, LmtpMailbox):
            next_hop = self.next_hop.to_dict()
        else:
            next_hop = self.next_hop

        configured_route = self.configured_route

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "filter": filter_,
            }
        )
        if recipient is not UNSET:
            field_dict["recipient"] = recipient
        if next_hop is not UNSET:
            field_dict["next_hop"] = next_hop
        if configured_route is not UNSET:
            field_dict["configured_route"] = configured_route

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.lmtp_mailbox import LmtpMailbox  # noqa: PLC0415
        from ..models.message_filter import MessageFilter  # noqa: PLC0415
        from ..models.smtp_mailbox import SmtpMailbox  # noqa: PLC0415

        d = dict(src_dict)
        filter_ = MessageFilter.from_dict(d.pop("filter"))

        def _parse_recipient(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        recipient = _parse_recipient(d.pop("recipient", UNSET))

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

        configured_route = d.pop("configured_route", UNSET)

        message_selection_redirect = cls(
            filter_=filter_,
            recipient=recipient,
            next_hop=next_hop,
            configured_route=configured_route,
        )

        return message_selection_redirect
