from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="MailEventAttempt")


@_attrs_define
class MailEventAttempt:
    """The attempt that caused an event.

    Attributes:
        host (None | str): The host that was connected to. null when there was none.
        address (None | str): Its address.
        port (int | None): TCP port.
        tls (None | str): Version and cipher of TLS. null without TLS.
        code (int | None): The code of the reply. null when there was no reply.
        enhanced_code (None | str): The code of RFC 3463.
        text (None | str): The text of the reply, or our reason.
        possible_duplicate (bool): Whether the connection was lost between the final dot and its answer.
    """

    host: None | str
    address: None | str
    port: int | None
    tls: None | str
    code: int | None
    enhanced_code: None | str
    text: None | str
    possible_duplicate: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        host: None | str
        host = self.host

        address: None | str
        address = self.address

        port: int | None
        port = self.port

        tls: None | str
        tls = self.tls

        code: int | None
        code = self.code

        enhanced_code: None | str
        enhanced_code = self.enhanced_code

        text: None | str
        text = self.text

        possible_duplicate = self.possible_duplicate

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "host": host,
                "address": address,
                "port": port,
                "tls": tls,
                "code": code,
                "enhanced_code": enhanced_code,
                "text": text,
                "possible_duplicate": possible_duplicate,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

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

        possible_duplicate = d.pop("possible_duplicate")

        mail_event_attempt = cls(
            host=host,
            address=address,
            port=port,
            tls=tls,
            code=code,
            enhanced_code=enhanced_code,
            text=text,
            possible_duplicate=possible_duplicate,
        )

        mail_event_attempt.additional_properties = d
        return mail_event_attempt

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
