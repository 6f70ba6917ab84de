"""How a blocked client is shown."""

from __future__ import annotations

from pydantic import Field

from services.config_api.http.responses import Answer, Time


class BlockedClient(Answer):
    """A client that policy refuses until the block ends."""

    client: str = Field(description="An IPv4 address, or an IPv6 /64.", examples=["192.0.2.7", "2001:db8::/64"])
    reason: str = Field(description="Why.", examples=["unknown_recipients"])
    count: int = Field(description="How often it did what it is blocked for.")
    blocked_at: Time | None = Field(description="When the block began.")
    ends_at: Time | None = Field(description="When the block ends by itself.")


class BlockedClientPage(Answer):
    """A page of blocked clients."""

    items: list[BlockedClient] = Field(description="The page's items.")
    next_cursor: str | None = Field(description="cursor of the next page; null: this is the last.")
