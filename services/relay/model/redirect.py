"""Redirects, by which an operator sends queued mail to another recipient or next hop. This module is pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from services.relay.configuration.model import FallbackHost, Mailbox, MailboxKind, TlsLevel


@dataclass(frozen=True, slots=True)
class Redirect:
    """A recipient, or a next hop. With neither, the mail takes the configured route again, and a next hop that was set
    before is removed.
    """

    # The recipient in canonical form. It is empty when the redirect has none.
    recipient: bytes = b""
    next_hop: Mailbox | None = None

    @property
    def text(self) -> str:
        """Returns the description of the redirect for the timeline."""
        if self.recipient:
            return f"to {self.recipient.decode('utf-8', 'backslashreplace')}"
        return "to the configured route" if self.next_hop is None else f"to the next hop {address_of(self.next_hop)}"


def address_of(next_hop: Mailbox) -> str:
    """Returns the address as host:port."""
    return f"{next_hop.host}:{next_hop.port}"


def as_json(next_hop: Mailbox) -> str:
    """Returns the next hop of a delivery in the form in which the queue stores it."""
    fields = {"kind": next_hop.kind.value, "host": next_hop.host, "port": next_hop.port, "tls": next_hop.tls.value}
    return json.dumps({**fields, "fallback_hosts": [[each.host, each.port] for each in next_hop.fallback_hosts]})


def next_hop_of(stored: str | None) -> Mailbox | None:
    """Reads the next hop of a delivery from its JSON. None means that the configuration decides. Raises ValueError for
    a text that is not valid.
    """
    if stored is None:
        return None
    try:
        fields = json.loads(stored)
        return Mailbox(
            MailboxKind(fields["kind"]),
            str(fields["host"]),
            int(fields["port"]),
            tls=TlsLevel(fields["tls"]),
            fallback_hosts=tuple(FallbackHost(str(host), int(port)) for host, port in fields["fallback_hosts"]),
        )
    except (TypeError, LookupError) as error:
        raise ValueError("the next hop can't be read") from error
