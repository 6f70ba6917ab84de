from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.delivery_state_filter import (
    DeliveryStateFilter,
    check_delivery_state_filter,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="MessageFilter")


@_attrs_define
class MessageFilter:
    """The conditions for messages. A message must meet all that are given.

    Attributes:
        sender (None | str | Unset): Envelope sender.
        recipient (None | str | Unset): A recipient.
        sender_domain (None | str | Unset): The domain of the sender.
        recipient_domain (None | str | Unset): The domain of a recipient.
        state (DeliveryStateFilter | None | Unset): The state of a delivery.
        destination (None | str | Unset): The name of a destination.
        received_after (datetime.datetime | None | Unset): Received at this time or later.
        received_before (datetime.datetime | None | Unset): Received before this time.
        last_reply_contains (None | str | Unset): Text in the last reply, without regard to case. There are no
            wildcards.
        account_login (None | str | Unset): The login of the account that sent it.
        client_address (None | str | Unset): The IP address of the client that sent it.
        attempts_at_least (int | None | Unset): At least this number of attempts.
        session_id (None | str | Unset): The session from which the message came.
        message_id (None | str | Unset): The Message-ID of the header, with or without its angle brackets. Case is
            significant.
        envelope_id (None | str | Unset): The ENVID of RFC 3461, as it was received.
        queue_id (None | str | Unset): The id of the message in the queue.
        address_contains (None | str | Unset): A part of the sender's or a recipient's address, without regard to case.
            There are no wildcards. Give received_after and received_before too, so that only this time is searched.
        subject_contains (None | str | Unset): A part of the subject, without regard to case. There are no wildcards. It
            finds messages that arrived while keep_subjects of the queue settings was on.
        rule_id (None | str | Unset): The id of an access rule or setting that decided at some stage of the session.
        reason_id (None | str | Unset): The name of a rule that refused or discarded something in the session.
        shadow_reason_id (None | str | Unset): The name of a rule in shadow mode that would have refused.
        shadow_rule_id (None | str | Unset): Id of an access rule in shadow mode that would have refused.
    """

    sender: None | str | Unset = UNSET
    recipient: None | str | Unset = UNSET
    sender_domain: None | str | Unset = UNSET
    recipient_domain: None | str | Unset = UNSET
    state: DeliveryStateFilter | None | Unset = UNSET
    destination: None | str | Unset = UNSET
    received_after: datetime.datetime | None | Unset = UNSET
    received_before: datetime.datetime | None | Unset = UNSET
    last_reply_contains: None | str | Unset = UNSET
    account_login: None | str | Unset = UNSET
    client_address: None | str | Unset = UNSET
    attempts_at_least: int | None | Unset = UNSET
    session_id: None | str | Unset = UNSET
    message_id: None | str | Unset = UNSET
    envelope_id: None | str | Unset = UNSET
    queue_id: None | str | Unset = UNSET
    address_contains: None | str | Unset = UNSET
    subject_contains: None | str | Unset = UNSET
    rule_id: None | str | Unset = UNSET
    reason_id: None | str | Unset = UNSET
    shadow_reason_id: None | str | Unset = UNSET
    shadow_rule_id: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
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

        sender_domain: None | str | Unset
        if isinstance(self.sender_domain, Unset):
            sender_domain = UNSET
        else:
            sender_domain = self.sender_domain

        recipient_domain: None | str | Unset
        if isinstance(self.recipient_domain, Unset):
            recipient_domain = UNSET
        else:
            recipient_domain = self.recipient_domain

        state: None | str | Unset
        if isinstance(self.state, Unset):
            state = UNSET
        elif isinstance(self.state, str):
            state = self.state
        else:
            state = self.state

        destination: None | str | Unset
        if isinstance(self.destination, Unset):
            destination = UNSET
        else:
            destination = self.destination

        received_after: None | str | Unset
        if isinstance(self.received_after, Unset):
            received_after = UNSET
        elif isinstance(self.received_after, datetime.datetime):
            received_after = self.received_after.isoformat()
        else:
            received_after = self.received_after

        received_before: None | str | Unset
        if isinstance(self.received_before, Unset):
            received_before = UNSET
        elif isinstance(self.received_before, datetime.datetime):
            received_before = self.received_before.isoformat()
        else:
            received_before = self.received_before

        last_reply_contains: None | str | Unset
        if isinstance(self.last_reply_contains, Unset):
            last_reply_contains = UNSET
        else:
            last_reply_contains = self.last_reply_contains

        account_login: None | str | Unset
        if isinstance(self.account_login, Unset):
            account_login = UNSET
        else:
            account_login = self.account_login

        client_address: None | str | Unset
        if isinstance(self.client_address, Unset):
            client_address = UNSET
        else:
            client_address = self.client_address

        attempts_at_least: int | None | Unset
        if isinstance(self.attempts_at_least, Unset):
            attempts_at_least = UNSET
        else:
            attempts_at_least = self.attempts_at_least

        session_id: None | str | Unset
        if isinstance(self.session_id, Unset):
            session_id = UNSET
        else:
            session_id = self.session_id

        message_id: None | str | Unset
        if isinstance(self.message_id, Unset):
            message_id = UNSET
        else:
            message_id = self.message_id

        envelope_id: None | str | Unset
        if isinstance(self.envelope_id, Unset):
            envelope_id = UNSET
        else:
            envelope_id = self.envelope_id

        queue_id: None | str | Unset
        if isinstance(self.queue_id, Unset):
            queue_id = UNSET
        else:
            queue_id = self.queue_id

        address_contains: None | str | Unset
        if isinstance(self.address_contains, Unset):
            address_contains = UNSET
        else:
            address_contains = self.address_contains

        subject_contains: None | str | Unset
        if isinstance(self.subject_contains, Unset):
            subject_contains = UNSET
        else:
            subject_contains = self.subject_contains

        rule_id: None | str | Unset
        if isinstance(self.rule_id, Unset):
            rule_id = UNSET
        else:
            rule_id = self.rule_id

        reason_id: None | str | Unset
        if isinstance(self.reason_id, Unset):
            reason_id = UNSET
        else:
            reason_id = self.reason_id

        shadow_reason_id: None | str | Unset
        if isinstance(self.shadow_reason_id, Unset):
            shadow_reason_id = UNSET
        else:
            shadow_reason_id = self.shadow_reason_id

        shadow_rule_id: None | str | Unset
        if isinstance(self.shadow_rule_id, Unset):
            shadow_rule_id = UNSET
        else:
            shadow_rule_id = self.shadow_rule_id

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if sender is not UNSET:
            field_dict["sender"] = sender
        if recipient is not UNSET:
            field_dict["recipient"] = recipient
        if sender_domain is not UNSET:
            field_dict["sender_domain"] = sender_domain
        if recipient_domain is not UNSET:
            field_dict["recipient_domain"] = recipient_domain
        if state is not UNSET:
            field_dict["state"] = state
        if destination is not UNSET:
            field_dict["destination"] = destination
        if received_after is not UNSET:
            field_dict["received_after"] = received_after
        if received_before is not UNSET:
            field_dict["received_before"] = received_before
        if last_reply_contains is not UNSET:
            field_dict["last_reply_contains"] = last_reply_contains
        if account_login is not UNSET:
            field_dict["account_login"] = account_login
        if client_address is not UNSET:
            field_dict["client_address"] = client_address
        if attempts_at_least is not UNSET:
            field_dict["attempts_at_least"] = attempts_at_least
        if session_id is not UNSET:
            field_dict["session_id"] = session_id
        if message_id is not UNSET:
            field_dict["message_id"] = message_id
        if envelope_id is not UNSET:
            field_dict["envelope_id"] = envelope_id
        if queue_id is not UNSET:
            field_dict["queue_id"] = queue_id
        if address_contains is not UNSET:
            field_dict["address_contains"] = address_contains
        if subject_contains is not UNSET:
            field_dict["subject_contains"] = subject_contains
        if rule_id is not UNSET:
            field_dict["rule_id"] = rule_id
        if reason_id is not UNSET:
            field_dict["reason_id"] = reason_id
        if shadow_reason_id is not UNSET:
            field_dict["shadow_reason_id"] = shadow_reason_id
        if shadow_rule_id is not UNSET:
            field_dict["shadow_rule_id"] = shadow_rule_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

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

        def _parse_sender_domain(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        sender_domain = _parse_sender_domain(d.pop("sender_domain", UNSET))

        def _parse_recipient_domain(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        recipient_domain = _parse_recipient_domain(d.pop("recipient_domain", UNSET))

        def _parse_state(data: object) -> DeliveryStateFilter | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                state_type_0 = check_delivery_state_filter(data)

                return state_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DeliveryStateFilter | None | Unset, data)

        state = _parse_state(d.pop("state", UNSET))

        def _parse_destination(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        destination = _parse_destination(d.pop("destination", UNSET))

        def _parse_received_after(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                received_after_type_0 = datetime.datetime.fromisoformat(data)

                return received_after_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        received_after = _parse_received_after(d.pop("received_after", UNSET))

        def _parse_received_before(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                received_before_type_0 = datetime.datetime.fromisoformat(data)

                return received_before_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        received_before = _parse_received_before(d.pop("received_before", UNSET))

        def _parse_last_reply_contains(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        last_reply_contains = _parse_last_reply_contains(d.pop("last_reply_contains", UNSET))

        def _parse_account_login(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        account_login = _parse_account_login(d.pop("account_login", UNSET))

        def _parse_client_address(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        client_address = _parse_client_address(d.pop("client_address", UNSET))

        def _parse_attempts_at_least(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        attempts_at_least = _parse_attempts_at_least(d.pop("attempts_at_least", UNSET))

        def _parse_session_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        session_id = _parse_session_id(d.pop("session_id", UNSET))

        def _parse_message_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        message_id = _parse_message_id(d.pop("message_id", UNSET))

        def _parse_envelope_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        envelope_id = _parse_envelope_id(d.pop("envelope_id", UNSET))

        def _parse_queue_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        queue_id = _parse_queue_id(d.pop("queue_id", UNSET))

        def _parse_address_contains(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        address_contains = _parse_address_contains(d.pop("address_contains", UNSET))

        def _parse_subject_contains(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        subject_contains = _parse_subject_contains(d.pop("subject_contains", UNSET))

        def _parse_rule_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        rule_id = _parse_rule_id(d.pop("rule_id", UNSET))

        def _parse_reason_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        reason_id = _parse_reason_id(d.pop("reason_id", UNSET))

        def _parse_shadow_reason_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        shadow_reason_id = _parse_shadow_reason_id(d.pop("shadow_reason_id", UNSET))

        def _parse_shadow_rule_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        shadow_rule_id = _parse_shadow_rule_id(d.pop("shadow_rule_id", UNSET))

        message_filter = cls(
            sender=sender,
            recipient=recipient,
            sender_domain=sender_domain,
            recipient_domain=recipient_domain,
            state=state,
            destination=destination,
            received_after=received_after,
            received_before=received_before,
            last_reply_contains=last_reply_contains,
            account_login=account_login,
            client_address=client_address,
            attempts_at_least=attempts_at_least,
            session_id=session_id,
            message_id=message_id,
            envelope_id=envelope_id,
            queue_id=queue_id,
            address_contains=address_contains,
            subject_contains=subject_contains,
            rule_id=rule_id,
            reason_id=reason_id,
            shadow_reason_id=shadow_reason_id,
            shadow_rule_id=shadow_rule_id,
        )

        return message_filter
