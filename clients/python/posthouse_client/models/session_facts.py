from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.listener import Listener, check_listener
from ..models.session_stage import SessionStage, check_session_stage
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.content_facts import ContentFacts


T = TypeVar("T", bound="SessionFacts")


@_attrs_define
class SessionFacts:
    """The facts of a session.

    Attributes:
        client_address (str): The client.
        stage (SessionStage | Unset): A stage of an SMTP session.
        listener (Listener | Unset): The kind of port that a session came in on.
        helo_name (str | Unset): The name from HELO or EHLO. Default: 'client.example.net'.
        tls (bool | Unset): Whether TLS is on. Default: False.
        account_login (str | Unset): The account that is logged in. Empty means none. Default: ''.
        sender (None | str | Unset): The sender of the envelope. null means the null sender.
        recipient (None | str | Unset): The recipient to decide about.
        recipients (list[str] | Unset): The recipients that were accepted before.
        declared_size (int | Unset): SIZE of MAIL in octets. 0 means none. Default: 0.
        junk_commands (int | Unset): The number of commands outside the mail transaction so far. Default: 0.
        content (ContentFacts | None | Unset): For the stage end_of_data only.
    """

    client_address: str
    stage: SessionStage | Unset = UNSET
    listener: Listener | Unset = UNSET
    helo_name: str | Unset = "client.example.net"
    tls: bool | Unset = False
    account_login: str | Unset = ""
    sender: None | str | Unset = UNSET
    recipient: None | str | Unset = UNSET
    recipients: list[str] | Unset = UNSET
    declared_size: int | Unset = 0
    junk_commands: int | Unset = 0
    content: ContentFacts | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.content_facts import ContentFacts  # noqa: PLC0415

        client_address = self.client_address

        stage: str | Unset = UNSET
        if not isinstance(self.stage, Unset):
            stage = self.stage

        listener: str | Unset = UNSET
        if not isinstance(self.listener, Unset):
            listener = self.listener

        helo_name = self.helo_name

        tls = self.tls

        account_login = self.account_login

        sender: None | str | Unset
        if isinstance(self.sender, Unset):
            sender = UNSET
        else:
            sender = self.sender

        recipient: None | str | Unset
        if isinstance(self.recipient, Unset):
            recipient = UNSET
        else:
            recipient = self.recipient

        recipients: list[str] | Unset = UNSET
        if not isinstance(self.recipients, Unset):
            recipients = self.recipients

        declared_size = self.declared_size

        junk_commands = self.junk_commands

        content: dict[str, Any] | None | Unset
        if isinstance(self.content, Unset):
            content = UNSET
        elif isinstance(self.content, ContentFacts):
            content = self.content.to_dict()
        else:
            content = self.content

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "client_address": client_address,
            }
        )
        if stage is not UNSET:
            field_dict["stage"] = stage
        if listener is not UNSET:
            field_dict["listener"] = listener
        if helo_name is not UNSET:
            field_dict["helo_name"] = helo_name
        if tls is not UNSET:
            field_dict["tls"] = tls
        if account_login is not UNSET:
            field_dict["account_login"] = account_login
        if sender is not UNSET:
            field_dict["sender"] = sender
        if recipient is not UNSET:
            field_dict["recipient"] = recipient
        if recipients is not UNSET:
            field_dict["recipients"] = recipients
        if declared_size is not UNSET:
            field_dict["declared_size"] = declared_size
        if junk_commands is not UNSET:
            field_dict["junk_commands"] = junk_commands
        if content is not UNSET:
            field_dict["content"] = content

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.content_facts import ContentFacts  # noqa: PLC0415

        d = dict(src_dict)
        client_address = d.pop("client_address")

        _stage = d.pop("stage", UNSET)
        stage: SessionStage | Unset
        if isinstance(_stage, Unset):
            stage = UNSET
        else:
            stage = check_session_stage(_stage)

        _listener = d.pop("listener", UNSET)
        listener: Listener | Unset
        if isinstance(_listener, Unset):
            listener = UNSET
        else:
            listener = check_listener(_listener)

        helo_name = d.pop("helo_name", UNSET)

        tls = d.pop("tls", UNSET)

        account_login = d.pop("account_login", UNSET)

        def _parse_sender(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        sender = _parse_sender(d.pop("sender", UNSET))

        def _parse_recipient(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        recipient = _parse_recipient(d.pop("recipient", UNSET))

        recipients = cast(list[str], d.pop("recipients", UNSET))

        declared_size = d.pop("declared_size", UNSET)

        junk_commands = d.pop("junk_commands", UNSET)

        def _parse_content(data: object) -> ContentFacts | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                content_type_0 = ContentFacts.from_dict(data)

                return content_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ContentFacts | None | Unset, data)

        content = _parse_content(d.pop("content", UNSET))

        session_facts = cls(
            client_address=client_address,
            stage=stage,
            listener=listener,
            helo_name=helo_name,
            tls=tls,
            account_login=account_login,
            sender=sender,
            recipient=recipient,
            recipients=recipients,
            declared_size=declared_size,
            junk_commands=junk_commands,
            content=content,
        )

        return session_facts
