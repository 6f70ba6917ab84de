"""The form in which blocked clients are shown."""

from __future__ import annotations

from pydantic import Field

from services.config_api.http.responses import Answer, Time


class BlockedClient(Answer):
    """A client that policy refuses until the block ends."""

    client: str = Field(description="An IPv4 address, or an IPv6 /64.", examples=["192.0.2.7", "2001:db8::/64"])
    reason: str = Field(description="Why.", examples=["unknown_recipients"])
    count: int = Field(description="The number of times that the client did the thing for which it is blocked.")
    blocked_at: Time | None = Field(description="When the block began.")
    ends_at: Time | None = Field(description="When the block ends by itself.")


class BlockedClientPage(Answer):
    """A page of blocked clients."""

    items: list[BlockedClient] = Field(description="The items of the page.")
    next_cursor: str | None = Field(description="The cursor of the next page. null means that this is the last page.")
