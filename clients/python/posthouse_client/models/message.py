from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.delivery import Delivery
    from ..models.origin import Origin
    from ..models.timeline_event import TimelineEvent


T = TypeVar("T", bound="Message")


@_attrs_define
class Message:
    """A message, queued or finished.

    Attributes:
        queue_id (str): The id of the message in the queue.
        submission_id (None | str): The id of the message between ingress and relay.
        sender (None | str): The sender of the envelope. null means the null sender.
        size (int): Octets.
        received_at (datetime.datetime | None): When it was received.
        origin (Origin): The origin of the message.
        state (str): The state of a delivery. unknown means that a newer relay has a state that this release of
            config_api does not know.
        deliveries (list[Delivery]): The deliveries, one for each recipient. Lists have only the first ones.
        delivery_count (int): The number of all deliveries.
        timeline (list[TimelineEvent]): The timeline, oldest first. Only getQueuedMessage has it.
        header (None | str): The header, if the request asks for it.
        envelope_id (None | str): ENVID of RFC 3461.
        message_id (None | str): The Message-ID of the header without its angle brackets. null means that it has none,
            or that it was not stored.
        subject (None | str): The subject. null means that it was not stored (keep_subjects).
        smtputf8 (bool): Whether the message needs SMTPUTF8.
        quarantine (bool): Whether the message is marked for quarantine.
        code (int | None): For refused messages: the code of the reply.
        enhanced_code (None | str): The code of RFC 3463.
        text (None | str): For refused messages: the text of the reply.
        reason_id (None | str): For refused messages: the constant name of the rule that refused.
        rule_id (None | str): The id of the access rule that refused.
        stage (None | str): The stage of the session at which the message was refused.
    """

    queue_id: str
    submission_id: None | str
    sender: None | str
    size: int
    received_at: datetime.datetime | None
    origin: Origin
    state: str
    deliveries: list[Delivery]
    delivery_count: int
    timeline: list[TimelineEvent]
    header: None | str
    envelope_id: None | str
    message_id: None | str
    subject: None | str
    smtputf8: bool
    quarantine: bool
    code: int | None
    enhanced_code: None | str
    text: None | str
    reason_id: None | str
    rule_id: None | str
    stage: None | str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        queue_id = self.queue_id

        submission_id: None | str
        submission_id = self.submission_id

        sender: None | str
        sender = self.sender

        size = self.size

        received_at: None | str
        if isinstance(self.received_at, datetime.datetime):
            received_at = self.received_at.isoformat()
        else:
            received_at = self.received_at

        origin = self.origin.to_dict()

        state = self.state

        deliveries = []
        for deliveries_item_data in self.deliveries:
            deliveries_item = deliveries_item_data.to_dict()
            deliveries.append(deliveries_item)

        delivery_count = self.delivery_count

        timeline = []
        for timeline_item_data in self.timeline:
            timeline_item = timeline_item_data.to_dict()
            timeline.append(timeline_item)

        header: None | str
        header = self.header

        envelope_id: None | str
        envelope_id = self.envelope_id

        message_id: None | str
        message_id = self.message_id

        subject: None | str
        subject = self.subject

        smtputf8 = self.smtputf8

        quarantine = self.quarantine

        code: int | None
        code = self.code

        enhanced_code: None | str
        enhanced_code = self.enhanced_code

        text: None | str
        text = self.text

        reason_id: None | str
        reason_id = self.reason_id

        rule_id: None | str
        rule_id = self.rule_id

        stage: None | str
        stage = self.stage

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "queue_id": queue_id,
                "submission_id": submission_id,
                "sender": sender,
                "size": size,
                "received_at": received_at,
                "origin": origin,
                "state": state,
                "deliveries": deliveries,
                "delivery_count": delivery_count,
                "timeline": timeline,
                "header": header,
                "envelope_id": envelope_id,
                "message_id": message_id,
                "subject": subject,
                "smtputf8": smtputf8,
                "quarantine": quarantine,
                "code": code,
                "enhanced_code": enhanced_code,
                "text": text,
                "reason_id": reason_id,
                "rule_id": rule_id,
                "stage": stage,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.delivery import Delivery  # noqa: PLC0415
        from ..models.origin import Origin  # noqa: PLC0415
        from ..models.timeline_event import TimelineEvent  # noqa: PLC0415

        d = dict(src_dict)
        queue_id = d.pop("queue_id")

        def _parse_submission_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        submission_id = _parse_submission_id(d.pop("submission_id"))

        def _parse_sender(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        sender = _parse_sender(d.pop("sender"))

        size = d.pop("size")

        def _parse_received_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                received_at_type_0 = datetime.datetime.fromisoformat(data)

                return received_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        received_at = _parse_received_at(d.pop("received_at"))

        origin = Origin.from_dict(d.pop("origin"))

        state = d.pop("state")

        deliveries = []
        _deliveries = d.pop("deliveries")
        for deliveries_item_data in _deliveries:
            deliveries_item = Delivery.from_dict(deliveries_item_data)

            deliveries.append(deliveries_item)

        delivery_count = d.pop("delivery_count")

        timeline = []
        _timeline = d.pop("timeline")
        for timeline_item_data in _timeline:
            timeline_item = TimelineEvent.from_dict(timeline_item_data)

            timeline.append(timeline_item)

        def _parse_header(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        header = _parse_header(d.pop("header"))

        def _parse_envelope_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        envelope_id = _parse_envelope_id(d.pop("envelope_id"))

        def _parse_message_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        message_id = _parse_message_id(d.pop("message_id"))

        def _parse_subject(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        subject = _parse_subject(d.pop("subject"))

        smtputf8 = d.pop("smtputf8")

        quarantine = d.pop("quarantine")

        def _parse_code(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        code = _parse_code(d.pop("code"))

        def _parse_enhanced_code(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        enhanced_code = _parse_enhanced_code(d.pop("enhanced_code"))

        def _parse_text(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        text = _parse_text(d.pop("text"))

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

        message = cls(
            queue_id=queue_id,
            submission_id=submission_id,
            sender=sender,
            size=size,
            received_at=received_at,
            origin=origin,
            state=state,
            deliveries=deliveries,
            delivery_count=delivery_count,
            timeline=timeline,
            header=header,
            envelope_id=envelope_id,
            message_id=message_id,
            subject=subject,
            smtputf8=smtputf8,
            quarantine=quarantine,
            code=code,
            enhanced_code=enhanced_code,
            text=text,
            reason_id=reason_id,
            rule_id=rule_id,
            stage=stage,
        )

        message.additional_properties = d
        return message

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
