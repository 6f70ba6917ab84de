from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define

T = TypeVar("T", bound="PastSession")


@_attrs_define
class PastSession:
    """A past session that policy still remembers.

    Attributes:
        kind (Literal['past']): The session is a past one.
        session_id (str): The id of the session, as in the log and the history.
    """

    kind: Literal["past"]
    session_id: str

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        session_id = self.session_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kind": kind,
                "session_id": session_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        kind = cast(Literal["past"], d.pop("kind"))
        if kind != "past":
            raise ValueError(f"kind must match const 'past', got '{kind}'")

        session_id = d.pop("session_id")

        past_session = cls(
            kind=kind,
            session_id=session_id,
        )

        return past_session
