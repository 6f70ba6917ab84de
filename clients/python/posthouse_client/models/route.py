from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.route_host import RouteHost
    from ..models.route_lookup import RouteLookup
    from ..models.route_rule import RouteRule


T = TypeVar("T", bound="Route")


@_attrs_define
class Route:
    """The route of one recipient's mail.

    Attributes:
        recipient (str): The address of a recipient.
        kind (str): The kind of the route.
        destination (None | str): The destination: domain:NAME, relay:HOST:PORT or mailbox:NAME.
        rules (list[RouteRule]): Every rule, in order.
        hosts (list[RouteHost]): The hosts in the order in which they would be tried.
        lookups (list[RouteLookup]): Every question to the DNS.
        tls_policy (None | str): The TLS that the connection needs.
        verify_certificate (bool): Whether the certificate must be valid.
        auth_username (None | str): The login that is used. null means none.
        code (int | None): The code with which the recipient fails. null means that it does not fail.
        enhanced_code (None | str): The code of RFC 3463.
        reason (None | str): The reason for this route.
    """

    recipient: str
    kind: str
    destination: None | str
    rules: list[RouteRule]
    hosts: list[RouteHost]
    lookups: list[RouteLookup]
    tls_policy: None | str
    verify_certificate: bool
    auth_username: None | str
    code: int | None
    enhanced_code: None | str
    reason: None | str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        recipient = self.recipient

        kind = self.kind

        destination: None | str
        destination = self.destination

        rules = []
        for rules_item_data in self.rules:
            rules_item = rules_item_data.to_dict()
            rules.append(rules_item)

        hosts = []
        for hosts_item_data in self.hosts:
            hosts_item = hosts_item_data.to_dict()
            hosts.append(hosts_item)

        lookups = []
        for lookups_item_data in self.lookups:
            lookups_item = lookups_item_data.to_dict()
            lookups.append(lookups_item)

        tls_policy: None | str
        tls_policy = self.tls_policy

        verify_certificate = self.verify_certificate

        auth_username: None | str
        auth_username = self.auth_username

        code: int | None
        code = self.code

        enhanced_code: None | str
        enhanced_code = self.enhanced_code

        reason: None | str
        reason = self.reason

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "recipient": recipient,
                "kind": kind,
                "destination": destination,
                "rules": rules,
                "hosts": hosts,
                "lookups": lookups,
                "tls_policy": tls_policy,
                "verify_certificate": verify_certificate,
                "auth_username": auth_username,
                "code": code,
                "enhanced_code": enhanced_code,
                "reason": reason,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.route_host import RouteHost  # noqa: PLC0415
        from ..models.route_lookup import RouteLookup  # noqa: PLC0415
        from ..models.route_rule import RouteRule  # noqa: PLC0415

        d = dict(src_dict)
        recipient = d.pop("recipient")

        kind = d.pop("kind")

        def _parse_destination(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        destination = _parse_destination(d.pop("destination"))

        rules = []
        _rules = d.pop("rules")
        for rules_item_data in _rules:
            rules_item = RouteRule.from_dict(rules_item_data)

            rules.append(rules_item)

        hosts = []
        _hosts = d.pop("hosts")
        for hosts_item_data in _hosts:
            hosts_item = RouteHost.from_dict(hosts_item_data)

            hosts.append(hosts_item)

        lookups = []
        _lookups = d.pop("lookups")
        for lookups_item_data in _lookups:
            lookups_item = RouteLookup.from_dict(lookups_item_data)

            lookups.append(lookups_item)

        def _parse_tls_policy(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        tls_policy = _parse_tls_policy(d.pop("tls_policy"))

        verify_certificate = d.pop("verify_certificate")

        def _parse_auth_username(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        auth_username = _parse_auth_username(d.pop("auth_username"))

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

        def _parse_reason(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        reason = _parse_reason(d.pop("reason"))

        route = cls(
            recipient=recipient,
            kind=kind,
            destination=destination,
            rules=rules,
            hosts=hosts,
            lookups=lookups,
            tls_policy=tls_policy,
            verify_certificate=verify_certificate,
            auth_username=auth_username,
            code=code,
            enhanced_code=enhanced_code,
            reason=reason,
        )

        route.additional_properties = d
        return route

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
