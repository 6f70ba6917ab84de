from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="RouteLookup")


@_attrs_define
class RouteLookup:
    """One question to the DNS.

    Attributes:
        query (str): Name and type.
        outcome (str): Its result.
        answers (list[str]): The records.
        name_server (None | str): The name server that was asked. null means one of the system.
        took_us (int): Microseconds.
    """

    query: str
    outcome: str
    answers: list[str]
    name_server: None | str
    took_us: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        query = self.query

        outcome = self.outcome

        answers = self.answers

        name_server: None | str
        name_server = self.name_server

        took_us = self.took_us

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "query": query,
                "outcome": outcome,
                "answers": answers,
                "name_server": name_server,
                "took_us": took_us,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        query = d.pop("query")

        outcome = d.pop("outcome")

        answers = cast(list[str], d.pop("answers"))

        def _parse_name_server(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        name_server = _parse_name_server(d.pop("name_server"))

        took_us = d.pop("took_us")

        route_lookup = cls(
            query=query,
            outcome=outcome,
            answers=answers,
            name_server=name_server,
            took_us=took_us,
        )

        route_lookup.additional_properties = d
        return route_lookup

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
