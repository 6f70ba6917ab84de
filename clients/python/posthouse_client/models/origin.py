from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.listener import Listener, check_listener

T = TypeVar("T", bound="Origin")


@_attrs_define
class Origin:
    """The origin of the message.

    Attributes:
        session_id (None | str): The id of the session. null for a report of ours.
        client_address (None | str): The IP address of the client.
        helo_name (None | str): The name from HELO or EHLO.
        account_login (None | str): The account that was logged in. null means none.
        listener (Listener | None): The listener where the client connected.
        tls (bool): Whether TLS was on.
    """

    session_id: None | str
    client_address: None | str
    helo_name: None | str
    account_login: None | str
    listener: Listener | None
    tls: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        session_id: None | str
        session_id = self.session_id

        client_address: None | str
        client_address = self.client_address

        helo_name: None | str
        helo_name = self.helo_name

        account_login: None | str
        account_login = self.account_login

        listener: None | str
        if isinstance(self.listener, str):
            listener = self.listener
        else:
            listener = self.listener

        tls = self.tls

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "session_id": session_id,
                "client_address": client_address,
                "helo_name": helo_name,
                "account_login": account_login,
                "listener": listener,
                "tls": tls,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

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

        def _parse_helo_name(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        helo_name = _parse_helo_name(d.pop("helo_name"))

        def _parse_account_login(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        account_login = _parse_account_login(d.pop("account_login"))

        def _parse_listener(data: object) -> Listener | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                listener_type_0 = check_listener(data)

                return listener_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Listener | None, data)

        listener = _parse_listener(d.pop("listener"))

        tls = d.pop("tls")

        origin = cls(
            session_id=session_id,
            client_address=client_address,
            helo_name=helo_name,
            account_login=account_login,
            listener=listener,
            tls=tls,
        )

        origin.additional_properties = d
        return origin

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
