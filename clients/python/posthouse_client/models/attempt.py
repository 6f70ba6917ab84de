from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Attempt")


@_attrs_define
class Attempt:
    """One attempt to deliver.

    Attributes:
        started_at (datetime.datetime | None): When it began.
        ended_at (datetime.datetime | None): When it ended.
        host (None | str): The host that was connected to. null when there was none.
        address (None | str): The address of the host.
        port (int | None): The TCP port.
        tls (None | str): The version and the cipher of TLS. null without TLS.
        tls_policy (None | str): The TLS that was needed.
        result (None | str): The result for the recipient.
        code (int | None): The code of the reply. null when there was no reply.
        enhanced_code (None | str): The code of RFC 3463.
        text (str): The text of the reply, or our reason.
        possible_duplicate (bool): Whether the connection was lost between the final dot and its answer.
        worker (str): The process of relay that made the attempt.
    """

    started_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    host: None | str
    address: None | str
    port: int | None
    tls: None | str
    tls_policy: None | str
    result: None | str
    code: int | None
    enhanced_code: None | str
    text: str
    possible_duplicate: bool
    worker: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        started_at: None | str
        if isinstance(self.started_at, datetime.datetime):
            started_at = self.started_at.isoformat()
        else:
            started_at = self.started_at

        ended_at: None | str
        if isinstance(self.ended_at, datetime.datetime):
            ended_at = self.ended_at.isoformat()
        else:
            ended_at = self.ended_at

        host: None | str
        host = self.host

        address: None | str
        address = self.address

        port: int | None
        port = self.port

        tls: None | str
        tls = self.tls

        tls_policy: None | str
        tls_policy = self.tls_policy

        result: None | str
        result = self.result

        code: int | None
        code = self.code

        enhanced_code: None | str
        enhanced_code = self.enhanced_code

        text = self.text

        possible_duplicate = self.possible_duplicate

        worker = self.worker

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "started_at": started_at,
                "ended_at": ended_at,
                "host": host,
                "address": address,
                "port": port,
                "tls": tls,
                "tls_policy": tls_policy,
                "result": result,
                "code": code,
                "enhanced_code": enhanced_code,
                "text": text,
                "possible_duplicate": possible_duplicate,
                "worker": worker,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_started_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                started_at_type_0 = datetime.datetime.fromisoformat(data)

                return started_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        started_at = _parse_started_at(d.pop("started_at"))

        def _parse_ended_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                ended_at_type_0 = datetime.datetime.fromisoformat(data)

                return ended_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        ended_at = _parse_ended_at(d.pop("ended_at"))

        def _parse_host(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        host = _parse_host(d.pop("host"))

        def _parse_address(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        address = _parse_address(d.pop("address"))

        def _parse_port(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        port = _parse_port(d.pop("port"))

        def _parse_tls(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        tls = _parse_tls(d.pop("tls"))

        def _parse_tls_policy(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        tls_policy = _parse_tls_policy(d.pop("tls_policy"))

        def _parse_result(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        result = _parse_result(d.pop("result"))

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

        text = d.pop("text")

        possible_duplicate = d.pop("possible_duplicate")

        worker = d.pop("worker")

        attempt = cls(
            started_at=started_at,
            ended_at=ended_at,
            host=host,
            address=address,
            port=port,
            tls=tls,
            tls_policy=tls_policy,
            result=result,
            code=code,
            enhanced_code=enhanced_code,
            text=text,
            possible_duplicate=possible_duplicate,
            worker=worker,
        )

        attempt.additional_properties = d
        return attempt

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
