from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.mail_event_attempt import MailEventAttempt
    from ..models.mail_event_reply import MailEventReply


T = TypeVar("T", bound="MailEventData")


@_attrs_define
class MailEventData:
    """The data of an event.

    Attributes:
        event_id (str): The id of the event. It is the same each time that the event is sent.
        queue_id (str): The queue id of the message.
        sender (str): The sender of the envelope. Empty for a report.
        recipients (list[str]): The recipient. For a refusal, all recipients that were refused.
        envelope_id (None | str): The ENVID of the sender.
        session_id (None | str): The session from which the message came.
        client_address (None | str): Its client.
        account_login (None | str): The login of the session's account.
        attempt (MailEventAttempt | None): The attempt. null when no attempt caused the event.
        reply (MailEventReply | None): For refusals: the reply to the client.
        reason_id (None | str): For refusals: the rule that refused.
        rule_id (None | str): For refusals: the id of the access rule.
        stage (None | str): For refusals: the stage of the session.
        detail (None | str): Further details, in our words.
        actor (None | str): For actions of operators: the name of the API key.
    """

    event_id: str
    queue_id: str
    sender: str
    recipients: list[str]
    envelope_id: None | str
    session_id: None | str
    client_address: None | str
    account_login: None | str
    attempt: MailEventAttempt | None
    reply: MailEventReply | None
    reason_id: None | str
    rule_id: None | str
    stage: None | str
    detail: None | str
    actor: None | str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.mail_event_attempt import MailEventAttempt  # noqa: PLC0415
        from ..models.mail_event_reply import MailEventReply  # noqa: PLC0415

        event_id = self.event_id

        queue_id = self.queue_id

        sender = self.sender

        recipients = self.recipients

        envelope_id: None | str
        envelope_id = self.envelope_id

        session_id: None | str
        session_id = self.session_id

        client_address: None | str
        client_address = self.client_address

        account_login: None | str
        account_login = self.account_login

        attempt: dict[str, Any] | None
        if isinstance(self.attempt, MailEventAttempt):
            attempt = self.attempt.to_dict()
        else:
            attempt = self.attempt

        reply: dict[str, Any] | None
        if isinstance(self.reply, MailEventReply):
            reply = self.reply.to_dict()
        else:
            reply = self.reply

        reason_id: None | str
        reason_id = self.reason_id

        rule_id: None | str
        rule_id = self.rule_id

        stage: None | str
        stage = self.stage

        detail: None | str
        detail = self.detail

        actor: None | str
        actor = self.actor

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "event_id": event_id,
                "queue_id": queue_id,
                "sender": sender,
                "recipients": recipients,
                "envelope_id": envelope_id,
                "session_id": session_id,
                "client_address": client_address,
                "account_login": account_login,
                "attempt": attempt,
                "reply": reply,
                "reason_id": reason_id,
                "rule_id": rule_id,
                "stage": stage,
                "detail": detail,
                "actor": actor,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.mail_event_attempt import MailEventAttempt  # noqa: PLC0415
        from ..models.mail_event_reply import MailEventReply  # noqa: PLC0415

        d = dict(src_dict)
        event_id = d.pop("event_id")

        queue_id = d.pop("queue_id")

        sender = d.pop("sender")

        recipients = cast(list[str], d.pop("recipients"))

        def _parse_envelope_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        envelope_id = _parse_envelope_id(d.pop("envelope_id"))

        def _parse_session_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        session_id = _parse_session_id(d.pop("session_id"))

        def _parse_client_address(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        client_address = _parse_client_address(d.pop("client_address"))

        def _parse_account_login(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        account_login = _parse_account_login(d.pop("account_login"))

        def _parse_attempt(data: object) -> MailEventAttempt | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                attempt_type_0 = MailEventAttempt.from_dict(data)

                return attempt_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MailEventAttempt | None, data)

        attempt = _parse_attempt(d.pop("attempt"))

        def _parse_reply(data: object) -> MailEventReply | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                reply_type_0 = MailEventReply.from_dict(data)

                return reply_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MailEventReply | None, data)

        reply = _parse_reply(d.pop("reply"))

        def _parse_reason_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        reason_id = _parse_reason_id(d.pop("reason_id"))

        def _parse_rule_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        rule_id = _parse_rule_id(d.pop("rule_id"))

        def _parse_stage(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        stage = _parse_stage(d.pop("stage"))

        def _parse_detail(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        detail = _parse_detail(d.pop("detail"))

        def _parse_actor(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        actor = _parse_actor(d.pop("actor"))

        mail_event_data = cls(
            event_id=event_id,
            queue_id=queue_id,
            sender=sender,
            recipients=recipients,
            envelope_id=envelope_id,
            session_id=session_id,
            client_address=client_address,
            account_login=account_login,
            attempt=attempt,
            reply=reply,
            reason_id=reason_id,
            rule_id=rule_id,
            stage=stage,
            detail=detail,
            actor=actor,
        )

        mail_event_data.additional_properties = d
        return mail_event_data

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
