"""Name servers are given as addresses or as names, with or without a port."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from libs.dns.servers import addressed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ""),
        ("192.0.2.1", "192.0.2.1:53"),
        (" 192.0.2.1:5353 , 2001:db8::1,", "192.0.2.1:5353,[2001:db8::1]:53"),
        ("[2001:db8::1]:5353,[2001:db8::2]", "[2001:db8::1]:5353,[2001:db8::2]:53"),
        ("unbound:5353,unbound", "192.0.2.9:5353,192.0.2.9:53"),
    ],
)
def test_every_form_of_a_name_server_is_read(monkeypatch: pytest.MonkeyPatch, text: str, found: str) -> None:
    def known(host: str, *_: Any, **__: Any) -> list[Any]:
        if host != "unbound":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("192.0.2.9", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    assert addressed(text) == found


@pytest.mark.parametrize("text", ["192.0.2.1:", "192.0.2.1:0", "192.0.2.1:x", ":53", "a..b"])
def test_an_invalid_name_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name server"):
        addressed(text)
