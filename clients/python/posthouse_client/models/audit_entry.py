from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.api_key_role import ApiKeyRole, check_api_key_role

T = TypeVar("T", bound="AuditEntry")


@_attrs_define
class AuditEntry:
    """One call that changed something, or was refused.

    Attributes:
        id (str): Its id.
        occurred_at (datetime.datetime): When it happened.
        actor (None | str): The name of the API key at that time. null means that there was no valid key.
        actor_id (None | str): The id of the API key, which never changes. null means that there was no valid key.
        role (ApiKeyRole | None): The role of the API key.
        client_address (None | str): The IP address of the client. null means that the service itself did it.
        action (str): The operationId.
        target (None | str): The object of the call. null when the path names none.
        status (int): The HTTP status of the answer.
        problem (None | str): The reason why it was refused. null means that it was not refused.
        revision (int | None): The revision that the call made.
        request_id (None | str): X-Request-Id of the answer.
    """

    id: str
    occurred_at: datetime.datetime
    actor: None | str
    actor_id: None | str
    role: ApiKeyRole | None
    client_address: None | str
    action: str
    target: None | str
    status: int
    problem: None | str
    revision: int | None
    request_id: None | str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        occurred_at = self.occurred_at.isoformat()

        actor: None | str
        actor = self.actor

        actor_id: None | str
        actor_id = self.actor_id

        role: None | str
        if isinstance(self.role, str):
            role = self.role
        else:
            role = self.role

        client_address: None | str
        client_address = self.client_address

        action = self.action

        target: None | str
        target = self.target

        status = self.status

        problem: None | str
        problem = self.problem

        revision: int | None
        revision = self.revision

        request_id: None | str
        request_id = self.request_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "occurred_at": occurred_at,
                "actor": actor,
                "actor_id": actor_id,
                "role": role,
                "client_address": client_address,
                "action": action,
                "target": target,
                "status": status,
                "problem": problem,
                "revision": revision,
                "request_id": request_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        occurred_at = datetime.datetime.fromisoformat(d.pop("occurred_at"))

        def _parse_actor(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        actor = _parse_actor(d.pop("actor"))

        def _parse_actor_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        actor_id = _parse_actor_id(d.pop("actor_id"))

        def _parse_role(data: object) -> ApiKeyRole | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                role_type_0 = check_api_key_role(data)

                return role_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ApiKeyRole | None, data)

        role = _parse_role(d.pop("role"))

        def _parse_client_address(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        client_address = _parse_client_address(d.pop("client_address"))

        action = d.pop("action")

        def _parse_target(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        target = _parse_target(d.pop("target"))

        status = d.pop("status")

        def _parse_problem(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        problem = _parse_problem(d.pop("problem"))

        def _parse_revision(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        revision = _parse_revision(d.pop("revision"))

        def _parse_request_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        request_id = _parse_request_id(d.pop("request_id"))

        audit_entry = cls(
            id=id,
            occurred_at=occurred_at,
            actor=actor,
            actor_id=actor_id,
            role=role,
            client_address=client_address,
            action=action,
            target=target,
            status=status,
            problem=problem,
            revision=revision,
            request_id=request_id,
        )

        audit_entry.additional_properties = d
        return audit_entry

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
